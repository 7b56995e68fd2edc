import { createTestModel, type StatePath } from "@xstate/graph";
import type { SnapshotFrom } from "xstate";
import type { StepContext, StepInput } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { sampleInput, stepEvents } from "./step-events.ts";

export type StepSnapshotNow = SnapshotFrom<typeof stepMachine>;
export type StepPath = StatePath<StepSnapshotNow, StepEvent>;

/** What every state answers; kept out of the paths and tried at each of their states instead. */
export const interruptTypes = [
  "cancel.requested",
  "deadline.reached",
  "lease.lost",
  "store.failed",
  "drain.requested",
] as const;

const isInterrupt = ({ type }: StepEvent) => (interruptTypes as readonly string[]).includes(type);

/**
 * Two moments are the same when they stand in the same state with the same patience left and the same
 * questions asked: guards look at nothing else.
 */
function serializeState({ value, context }: { value?: unknown; context?: StepContext }): string {
  const asked = context?.asks.map(({ approvalId }) => approvalId);
  return JSON.stringify([value, context?.attempts, context?.checks, context?.repairs, asked]);
}

/**
 * Every simple path of the production step chart (none passes the same moment twice), generated from its own
 * graph by @xstate/graph. Without an input they are those of two steps whose patience is short in different ways:
 * tried twice and never repaired, tried once and repaired once. Together they take every arrow; the paths of a step
 * that has both are forty times as many, and pass nothing new.
 */
export function stepPaths(
  events: readonly StepEvent[] = stepEvents,
  input?: StepInput,
  machine = stepMachine,
): StepPath[] {
  if (input !== undefined) return pathsOf(events, input, machine);
  const patient = { ...sampleInput.limits, maxRepairs: 0 };
  const repairing = { ...sampleInput.limits, maxAttempts: 1 };
  const plain = events.filter((event) => !("isAnswered" in event || "refusals" in event));
  return [
    ...pathsOf(plain, { ...sampleInput, limits: patient }),
    ...pathsOf(events, { ...sampleInput, limits: repairing }),
  ];
}

function pathsOf(
  events: readonly StepEvent[],
  input: StepInput,
  machine = stepMachine,
): StepPath[] {
  const model = createTestModel(machine as never);
  const options = {
    events: events.filter((event) => !isInterrupt(event)),
    serializeState,
    input,
  };
  return model.getSimplePaths(options as never) as unknown as StepPath[];
}
