import { type } from "arktype";
import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import type { Answer } from "./to-failure.ts";

/** The answer's body in the shape of the contract, or a `refused` failure that says what was expected. */
export function checked<T>(
  answer: Outcome<Answer>,
  shape: (body: unknown) => T | type.errors,
  what: string,
): Outcome<T> {
  if (!answer.ok) return answer;
  const read = shape(answer.value.body);
  if (read instanceof type.errors) {
    const problem = read.summary.slice(0, 500);
    return fail(terminal("refused", `the control plane's ${what} is out of contract: ${problem}`));
  }
  return ok(read);
}
