import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { StepLife } from "./life.ts";

/** Waits until aborted work has unwound, but no longer than `ms`: work that ignores its signal is left behind. */
export async function unwound(life: StepLife, clock: Clock, ms = 1_000): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const callOff = clock.timer(ms, resolve);
  await Promise.race([life.tail, promise]);
  callOff();
}
