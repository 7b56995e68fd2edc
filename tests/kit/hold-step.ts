import { type Actor, createActor, type Snapshot } from "xstate";
import type { StepInput } from "../../machines/step/context.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { activities, type Activity } from "../../machines/step/activities.ts";
import { sampleInput } from "./step-events.ts";

/** A live step actor whose work is held: it asks, and whoever holds it answers with events. */
export interface HeldStep {
  actor: Actor<typeof stepMachine>;
  /** Every activity asked for so far, in order. */
  asked: Activity[];
  /** How many activities asked for are still under way: asked, and neither left nor aborted. */
  underWay(): number;
}

/** Starts the production chart, from the beginning or from a snapshot, with its activities held. */
export function holdStep(input: StepInput = sampleInput, snapshot?: Snapshot<unknown>): HeldStep {
  const asked: Activity[] = [];
  let running = 0;
  const hold = (name: Activity) => () => {
    asked.push(name);
    running += 1;
  };
  const actions = Object.fromEntries(activities.map((name) => [name, hold(name)]));
  const abort = () => {
    running = 0;
  };
  const machine = stepMachine.provide({ actions: { ...actions, abort } as never });
  const actor = createActor(machine, { input, ...(snapshot === undefined ? {} : { snapshot }) });
  actor.start();
  return { actor, asked, underWay: () => running };
}
