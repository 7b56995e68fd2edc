import type { Clock } from "../../machines/contracts/ports/clock.ts";

/** Resolves after `ms`, or as soon as the signal is aborted; a timer left behind would hold the process. */
export function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const callOff = clock.timer(ms, resolve);
  const onAbort = () => {
    callOff();
    resolve();
  };
  signal.addEventListener("abort", onAbort, { once: true });
  return promise.finally(() => signal.removeEventListener("abort", onAbort));
}
