/** One signal out of two: the caller's, and a time limit that knows it was the cause. */
export interface Deadline {
  readonly signal: AbortSignal;
  timedOut(): boolean;
  /** Drops the time limit; the caller's signal still counts. */
  disarm(): void;
  /** Lets go of timer and caller alike. Not `AbortSignal.any`: that piles up on a long-lived signal. */
  clear(): void;
}

/** @param ms milliseconds from now */
export function createDeadline(caller: AbortSignal, ms: number): Deadline {
  const controller = new AbortController();
  let late = false;
  const abort = () => controller.abort();
  const timer = setTimeout(() => {
    late = !controller.signal.aborted;
    controller.abort();
  }, ms);
  if (caller.aborted) abort();
  else caller.addEventListener("abort", abort, { once: true });
  return {
    signal: controller.signal,
    timedOut: () => late,
    disarm: () => clearTimeout(timer),
    clear() {
      clearTimeout(timer);
      caller.removeEventListener("abort", abort);
    },
  };
}
