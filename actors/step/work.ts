import type { StepContext } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepLife } from "./life.ts";

/** What an effect of the chart works with. */
export interface WorkScope {
  ports: RuntimePorts;
  options: RuntimeOptions;
  life: StepLife;
  context: StepContext;
  /** Aborted when the state is left. */
  signal: AbortSignal;
  /** The actor's snapshot as XState persists it; asked for only when a step is parked or buried. */
  persist: () => unknown;
}

/** The work behind one effect's name: it answers with the event that tells what came of it. */
export type StepWork = (scope: WorkScope) => Promise<StepEvent>;

/** When something happened, and the number drawn for it. */
export function occasion({ clock }: Pick<RuntimePorts, "clock">): { at: number; chance: number } {
  return { at: clock.now(), chance: clock.random() };
}
