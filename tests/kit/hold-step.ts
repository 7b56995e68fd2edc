import { type Actor, createActor, type Snapshot } from "xstate";
import type { StepInput } from "../../machines/step/context.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { sampleInput } from "./step-events.ts";

const effects = [
  "load",
  "checkPolicy",
  "requestApproval",
  "readDecision",
  "execute",
  "validate",
  "record",
  "deliver",
  "settle",
  "park",
  "backOff",
  "release",
] as const;
export type EffectName = (typeof effects)[number];

/** A live step actor whose work is held: it asks, and whoever holds it answers with events. */
export interface HeldStep {
  actor: Actor<typeof stepMachine>;
  /** Every effect asked for so far, in order. */
  asked: EffectName[];
  /** How many effects asked for are still under way: asked, and neither left nor aborted. */
  underWay(): number;
}

/** Starts the production chart, from the beginning or from a snapshot, with its effects held. */
export function holdStep(input: StepInput = sampleInput, snapshot?: Snapshot<unknown>): HeldStep {
  const asked: EffectName[] = [];
  let running = 0;
  const hold = (name: EffectName) => () => {
    asked.push(name);
    running += 1;
  };
  const actions = Object.fromEntries(effects.map((name) => [name, hold(name)]));
  const abort = () => {
    running = 0;
  };
  const machine = stepMachine.provide({ actions: { ...actions, abort } as never });
  const actor = createActor(machine, { input, ...(snapshot === undefined ? {} : { snapshot }) });
  actor.start();
  return { actor, asked, underWay: () => running };
}
