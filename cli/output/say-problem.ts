import { plain } from "./plain.ts";

/** One line on standard error. */
export function sayProblem(problem: string): void {
  process.stderr.write(`stateplane: ${plain(problem)}\n`);
}
