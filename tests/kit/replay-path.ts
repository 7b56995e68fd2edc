import type { StepInput } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";
import { type HeldStep, holdStep } from "./hold-step.ts";
import type { ActionArgs } from "./invariants.ts";
import { sampleInput } from "./step-events.ts";
import type { StepPath } from "./step-paths.ts";

export interface Replay {
  held: HeldStep;
  history: ActionArgs[];
  /** Where the live actor left the predicted path; null when it never did. */
  strayed: string | null;
}

/** Sends events to a held step, writing its history. */
export function sendAll(held: HeldStep, events: readonly StepEvent[], history: ActionArgs[]): void {
  for (const event of events) {
    const before = held.asked.length;
    held.actor.send(event);
    history.push(moment(held, event, before));
  }
}

/** Walks a live actor along a generated path, and looks at every step whether it is where the graph says. */
export function replayPath(path: StepPath, input: StepInput = inputOf(path)): Replay {
  const held = holdStep(input);
  const history: ActionArgs[] = [moment(held, { type: "xstate.init" }, 0)];
  let strayed: string | null = null;
  for (const { event, state } of path.steps.slice(1)) {
    sendAll(held, [event], history);
    const { value } = held.actor.getSnapshot();
    if (strayed === null && JSON.stringify(value) !== JSON.stringify(state.value)) {
      const expected = `the graph says ${JSON.stringify(state.value)}`;
      strayed = `after ${event.type} the actor is in ${JSON.stringify(value)}, ${expected}`;
    }
  }
  return { held, history, strayed };
}

/** The sample step with the limits that the path was generated with. */
const inputOf = ({ steps }: StepPath): StepInput => ({
  ...sampleInput,
  limits: steps[0]?.state.context.limits ?? sampleInput.limits,
});

function moment(held: HeldStep, event: ActionArgs["event"], askedBefore: number): ActionArgs {
  const { value, status, context } = held.actor.getSnapshot();
  return { event, value, status, context, asked: held.asked.slice(askedBefore) };
}
