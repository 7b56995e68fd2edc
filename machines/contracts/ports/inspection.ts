import type { StepType } from "../domain/job.ts";

/*
 * What is seen of machines at work, live. It is told only while somebody wants to hear it: each source is watched for
 * as long as somebody looks.
 */

/** Whoever moves: an actor of XState's, or a machine that is run without one, such as an agent's loop. */
export interface InspectedActor {
  /** Unique in this process. */
  id: string;
  /** The name of its chart; `work` for what has none: a callback, such as the worker's heartbeat. */
  machine: string;
  name: string;
  parent: string | null;
  runId: string | null;
  stepId: string | null;
  stepType: StepType | null;
  /** What it works on, for a person: a tool's name, a model's. */
  about: string | null;
  /** The states that it had passed before it was watched, without where it is now. */
  passed: readonly string[];
}

export interface InspectedMove {
  id: string;
  /** The type of the event, and the event itself. */
  event: string;
  detail: unknown;
  /** The actor that sent it, where it was one. */
  source: string | null;
  /** The state by its dotted path; empty where there are no states. */
  value: string;
  status: "active" | "done" | "error" | "stopped";
  /** As the machine has it, by reference: read it, and never change it. */
  context: unknown;
  /** Epoch milliseconds. */
  at: number;
}

/** Must not throw. */
export interface InspectionListener {
  /** Comes before the first move of an actor. */
  appeared(actor: InspectedActor): void;
  moved(move: InspectedMove): void;
}

export interface InspectionSource {
  /**
   * Tells first of those that are there already. Where more begin than anybody could look at, of some it is told from
   * their beginning; that others are left out is said by `leftOut`, once until they are asked for.
   */
  watch(listener: InspectionListener, leftOut: () => void): Watching;
}

export interface Watching {
  /** Tells of those that were left out and are alive, as they are now, and of what becomes of them. */
  catchUp(): void;
  stop(): void;
}
