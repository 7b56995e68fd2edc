import type { Delivery } from "../contracts/ports/step-queue.ts";
import type { StepEnd } from "../step/machine.ts";

export interface SupervisorInput {
  /** Steps at once. */
  capacity: number;
  /** How often, within `windowMs` milliseconds, a failed source is started again. */
  restarts: { maxRestarts: number; windowMs: number };
}

export type SupervisorEvent =
  | { type: "jobs.received"; deliveries: Delivery[] }
  | { type: "step.ended"; how: StepEnd }
  | { type: "step.crashed"; stepId: string; message: string }
  /** The control plane can't be reached: take no more jobs until it is back. */
  | { type: "control-plane.away" }
  | { type: "control-plane.back" }
  | { type: "source.failed"; source: string; message: string; at: number }
  | { type: "drain"; graceMs: number }
  | { type: "grace.over" }
  | { type: "stop" };

/** What the nursery is told. */
export type NurseryCommand =
  | { type: "admit"; deliveries: Delivery[] }
  /** Every step still alive is told to drain: it hands its job back. */
  | { type: "drain" };

/** What a source of jobs is told. */
export type SourceCommand = { type: "room"; room: number };
