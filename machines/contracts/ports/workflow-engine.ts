import type { Failure, Outcome } from "../domain/failure.ts";
import type { StepType } from "../domain/job.ts";
import type { Json, JsonObject } from "../domain/json.ts";
import type { StepDefinition, WorkflowStepType } from "../domain/workflow.ts";

/** What a worker is asked to do for a step. */
export interface StepRequest {
  stepType: StepType;
  input: JsonObject;
  /** A person must say yes first, and reads this; null where nobody is asked. */
  asks: { message: string | null } | null;
}

/** What there is to know of a step before it starts. */
export interface StepDecision {
  runs: boolean;
  /** Which branch it takes. */
  holds?: boolean;
  /** The list that its steps run over. */
  items?: Json[];
  /** What the workflow is given that runs in it. */
  input?: JsonObject;
}

/** Reads definitions and works their expressions out. */
export interface WorkflowReader {
  /** What is wrong in a definition, a sentence each; empty where nothing is. */
  problems(definition: Json): string[];
  /** What a step's expressions name: what its scope must hold. */
  namesIn(step: StepDefinition): string[];
  decideStep(step: StepDefinition, scope: JsonObject): Outcome<StepDecision>;
  stepRequest(step: StepDefinition, scope: JsonObject, shown: JsonObject): Outcome<StepRequest>;
  /** What later steps see of a worker's output. */
  seenOutput(step: StepDefinition, output: Json): Json;
  /** Whether an output ends the loop around its step. */
  saysDone(output: Json): boolean;
  /** What its expressions have cost since this was last asked, as reading and writing so many characters would have. */
  takeWork(): number;
}

export type ValueKind = "output" | "input" | "items";

/** What is kept of a run beside its state, by the place of a step in the run's table; -1 for the run itself. */
export interface WorkflowValues {
  read(kind: ValueKind, step: number): Json | undefined;
  keep(kind: ValueKind, step: number, value: Json): void;
  /** Counts characters that are written beside the values: a job, say. */
  spend(characters: number): void;
  /** Whether so much was read and written by now that what can wait is for another turn. */
  isFull(): boolean;
}

interface Attempt {
  step: number;
  attempt: number;
}

/** What came of something that a run had asked for. What comes twice, or too late, changes nothing. */
export type WorkflowHappening =
  | ({ type: "step.completed"; output: Json } & Attempt)
  | ({ type: "step.failed"; failure: Failure } & Attempt)
  /** It has stopped, as it was told. */
  | ({ type: "step.cancelled" } & Attempt)
  | ({ type: "approval.requested" } & Attempt)
  | ({ type: "approval.granted" } & Attempt)
  | { type: "timer.fired"; timer: Json }
  | { type: "cancel.requested" };

export interface WorkflowTurn {
  run: WorkflowState;
  /** What {@link WorkflowProgram.restore} goes on by; empty where nothing changed. */
  events: Json[];
  /** To be put on the stream. */
  starts: ({ path: string; request: StepRequest } & Attempt)[];
  /** To be told to stop. */
  cancels: Attempt[];
  timers: { timer: Json; afterMs: number }[];
  /** What is left to do: in another turn, by {@link WorkflowState.goOn}. Null where nothing is. */
  rest: WorkflowRest | null;
}

/** What a turn had no room for any more. JSON; good for as long as it takes: what has become void is passed over. */
export interface WorkflowRest {
  decide: Attempt[];
  start: Attempt[];
  /** Of those that are to start. */
  timers: ({ timer: Json; afterMs: number } & Attempt)[];
}

/** A run of a workflow as it stands. Never changes: each happening makes another one. */
export interface WorkflowState {
  readonly phase: "running" | "stopping" | "completed" | "failed" | "cancelled";
  /** Why it failed. */
  readonly failure: Failure | null;
  /** How many of its steps wait for a person. */
  readonly asking: number;
  /** How many steps it has by now, over all iterations and items. */
  readonly size: number;
  take(happening: WorkflowHappening, values: WorkflowValues): WorkflowTurn;
  /** The rest of an earlier turn, or some of it. */
  goOn(rest: WorkflowRest, values: WorkflowValues): WorkflowTurn;
  /** What its own steps brought, by their ids. */
  output(values: WorkflowValues): JsonObject;
  save(): Json;
  steps(): WorkflowStepState[];
  /** Those that were told to stop, and have not said that they did. */
  stopping(): Attempt[];
}

/** A step of a run as people see it. */
export interface WorkflowStepState {
  step: number;
  /** Its name in the run: `read_files[2]/select`. */
  path: string;
  type: WorkflowStepType;
  status: string;
  attempt: number;
  /** Why it was skipped. */
  reason: string | null;
}

/** One definition, made ready to be run any number of times. */
export interface WorkflowProgram {
  /** A run before anything happened, and what it asks for first. Its input stands in the values, at -1. */
  begin(values: WorkflowValues): WorkflowTurn;
  /** A run as it was saved, with the events since; nothing is asked for by it. */
  restore(saved: Json, events: readonly Json[]): Outcome<WorkflowState>;
}

/** Runs workflows for a control plane, which keeps everything and does what a turn asks for. */
export interface WorkflowEngine {
  /** `invalid_input`, with all that is wrong, for a definition that can't be run. */
  open(definition: Json): Outcome<WorkflowProgram>;
}
