/**
 * Restart intensity, as Erlang's supervisors have it: a source that fails more than `maxRestarts` times within
 * `windowMs` is not going to mend by being started again.
 *
 * @param failures times of the failures so far, epoch milliseconds
 */
export function mayRestart(
  failures: readonly number[],
  now: number,
  { maxRestarts, windowMs }: { maxRestarts: number; windowMs: number },
): boolean {
  return failures.filter((at) => now - at < windowMs).length < maxRestarts;
}
