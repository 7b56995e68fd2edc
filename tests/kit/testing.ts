/**
 * `stateplane/testing`: property-test your own step handlers, tools and policies, and walk the step chart itself.
 * Needs fast-check and @xstate/graph beside it. docs/testing.md begins with an example.
 */

/** Your handlers, tools and policies, through histories in which everything goes wrong. */
export {
  checkLifecycle,
  LifecycleBroken,
  type LifecycleCheck,
  type LifecycleReport,
  type ToolLifecycleCheck,
} from "./check-lifecycle.ts";
export { calmHistory, histories, type Fault, type History } from "./lifecycle-history.ts";
export {
  brokenLifecyclePromises,
  lifecyclePromises,
  type LifecyclePromise,
} from "./lifecycle-promises.ts";
export type { LifecycleSubject, LifecycleTool } from "./lifecycle-subject.ts";
export type { Seen, StepWorld } from "./lifecycle-world.ts";
export { tellStory } from "./tell-story.ts";
export { type Walk, walkLifecycle } from "./walk-lifecycle.ts";

/** Neighbours that answer at once, and time that stands still until it is moved. */
export {
  simulatedControlPlane,
  type Question,
  type SimulatedControlPlane,
} from "./simulated-control-plane.ts";
export { virtualClock, type VirtualClock } from "./virtual-clock.ts";

/** The charts' own paths, generated from their graphs, and live actors to walk them with. */
export { finishStep } from "./finish-step.ts";
export { holdStep, type HeldStep } from "./hold-step.ts";
export type { Activity } from "../../machines/step/activities.ts";
export { brokenPromises, type Invariant, invariants, type ActionArgs } from "./invariants.ts";
export { type Replay, replayPath, sendAll } from "./replay-path.ts";
export { sampleAsk, sampleInput, sampleJob, stepEvents } from "./step-events.ts";
export { interruptTypes, type StepPath, stepPaths } from "./step-paths.ts";
export { idleSupervisor, supervisorInput, supervisorPaths } from "./supervisor-paths.ts";
