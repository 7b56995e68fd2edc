import type { Verdict } from "../../machines/contracts/verdict.ts";

const strictness = { allow: 0, ask: 1, deny: 2 };

/** The stricter of two verdicts; of two alike, the second, which has the last word. */
export function stricter(first: Verdict, second: Verdict): Verdict {
  return strictness[first.kind] > strictness[second.kind] ? first : second;
}
