import type { StepEvent } from "../../machines/step/events.ts";
import type { StepWork } from "./work.ts";

/** Waits in memory until the retry is due; leaving the state calls the timer off. */
export const backOff: StepWork = async ({ ports, context, signal }) => {
  const { promise, resolve } = Promise.withResolvers<StepEvent>();
  const left = (context.retryAt ?? 0) - ports.clock.now();
  const callOff = ports.clock.timer(left, () => resolve({ type: "retry.due" }));
  signal.addEventListener("abort", () => (callOff(), resolve({ type: "retry.due" })), {
    once: true,
  });
  return promise;
};
