import type { Ask, Grant, Refusal, Verdict } from "../contracts/domain/action.ts";
import type { Failure } from "../contracts/domain/failure.ts";
import type { Job } from "../contracts/domain/job.ts";
import type { Json } from "../contracts/domain/json.ts";
import type { StepResult, Usage } from "../contracts/domain/step-result.ts";

/** Bounds of one step's life. Times in milliseconds. */
export interface StepLimits {
  /** How often a state's work is tried before its failure is final. At least 1. */
  maxAttempts: number;
  /** How often an invalid but repairable output is sent back to executing. */
  maxRepairs: number;
  /** The first back-off is drawn from 0 to this; each further one from twice as much. */
  baseDelayMs: number;
  maxDelayMs: number;
  /** A back-off longer than this leaves the worker: the step is parked. */
  parkAfterMs: number;
}

/** What the spawner knows of a job before its record is read. */
export interface StepInput {
  runId: string;
  stepId: string;
  /** Null when the job is invalid; then `problem` says why. */
  job: Job | null;
  problem: Failure | null;
  limits: StepLimits;
}

/**
 * The step's memory: JSON, and only what a later state reads. Clocks, signals, leases and journals live with
 * the actor's runtime, never here.
 */
export interface StepContext {
  runId: string;
  stepId: string;
  job: Job | null;
  problem: Failure | null;
  limits: StepLimits;
  verdict: Verdict | null;
  /** The questions this step waits on; every one must be granted before it goes on. */
  asks: Ask[];
  grants: Grant[];
  /** What people refused of the calls that the handler makes on its way: told to the handler, and not asked again. */
  refusals: Refusal[];
  /** Failed attempts at the step's own work. */
  attempts: number;
  /** Epoch milliseconds since when the step has waited for a neighbour that it could not even ask. */
  heldSince: number | null;
  /** The failure after which it is tried again; read by people alone, in the record of a step that is put away. */
  waitsFor: string | null;
  /** Failed attempts to hear of policy or people; nothing once they have answered. */
  checks: number;
  repairs: number;
  /** What validation found wrong last time, for the next attempt to mend. */
  repairNote: string | null;
  /** The answer in which it was found, for the model to see. */
  repairAnswer: string | null;
  /** Failed attempts to deliver the report. */
  deliveryAttempts: number;
  /** Epoch milliseconds at which a back-off ends. */
  retryAt: number | null;
  output: Json;
  usage: Usage | null;
  /** Whether the result would cost anything to make again; then it is recorded before it is sent. */
  costly: boolean;
  result: StepResult | null;
  /** The result that could not be kept or delivered as it is; `result` is then the short failure sent in its place. */
  undelivered: StepResult | null;
  /** Why the job becomes a dead letter when it is settled: the first cause. */
  deadLetter: string | null;
  draining: boolean;
  /** Why the step was cancelled before its record was read; answered once it is known what there is to cancel. */
  cancelReason: string | null;
}

export function initialContext(input: StepInput): StepContext {
  return {
    ...input,
    verdict: null,
    asks: [],
    grants: [],
    refusals: [],
    attempts: 0,
    heldSince: null,
    waitsFor: null,
    checks: 0,
    repairs: 0,
    repairNote: null,
    repairAnswer: null,
    deliveryAttempts: 0,
    retryAt: null,
    output: null,
    usage: null,
    costly: false,
    result: null,
    undelivered: null,
    deadLetter: null,
    draining: false,
    cancelReason: null,
  };
}
