import type { Failure } from "../contracts/domain/failure.ts";

/** One attempt at one step of a run: its place in the run's table, and which attempt. Before the first, 0. */
export interface Attempt {
  step: number;
  attempt: number;
}

/** What somebody found who looked at earlier results before a step starts. */
export interface Decision {
  /** Whether the step's condition holds; true where it has none. */
  runs: boolean;
  /** How many items its list has. */
  items?: number;
  /** Which branch it takes. */
  holds?: boolean;
}

/** `retry`: its delay is over. `timeout`: its time is over; `serial` tells it from one that was set before a wait. */
export interface Timer extends Attempt {
  kind: "retry" | "timeout";
  serial: number;
}

/**
 * What drives a run. Each may come twice, late or never: what does not fit the step's present attempt changes nothing.
 */
export type WorkflowEvent =
  | ({ type: "step.decided"; decision: Decision } & Attempt)
  /** `isDone`: its output says `done`, which ends a loop around it. */
  | ({ type: "step.completed"; isDone?: boolean } & Attempt)
  /** Of a decision too: what it needs was not there. */
  | ({ type: "step.failed"; failure: Failure } & Attempt)
  /** It has stopped, as it was told. */
  | ({ type: "step.cancelled" } & Attempt)
  /** It waits for a person; its time stands still, unless it is that person's. */
  | ({ type: "approval.requested" } & Attempt)
  | ({ type: "approval.granted" } & Attempt)
  | ({ type: "approval.rejected" } & Attempt)
  | ({ type: "approval.expired" } & Attempt)
  | { type: "timer.fired"; timer: Timer }
  | { type: "cancel.requested" };
