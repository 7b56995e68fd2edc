import type { Failure, Outcome } from "../../machines/contracts/domain/failure.ts";

/** The failure of an outcome that must not be good. */
export function failure(outcome: Outcome<unknown>): Failure {
  if (outcome.ok) throw new Error(`expected a failure, got ${JSON.stringify(outcome.value)}`);
  return outcome.failure;
}
