import { type } from "arktype";

/** What policy says of one action, always with its reason. */
export const verdictShape = type({
  kind: "'allow' | 'ask' | 'deny'",
  reason: "string",
  "decisionId?": "string",
});
export type Verdict = typeof verdictShape.infer;

const allow = (reason: string): Verdict => ({ kind: "allow", reason });
const ask = (reason: string): Verdict => ({ kind: "ask", reason });
const deny = (reason: string): Verdict => ({ kind: "deny", reason });

export const verdict = { allow, ask, deny };
