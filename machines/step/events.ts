import type { Ask, Grant, Refusal, Verdict } from "../contracts/domain/action.ts";
import type { Failure } from "../contracts/domain/failure.ts";
import type { Json } from "../contracts/domain/json.ts";
import type { StepResult, Usage } from "../contracts/domain/step-result.ts";
import type { StepContext } from "./context.ts";

/** The states a parked or interrupted step can be taken up in. */
export type LeftOff = "policy-check" | "awaiting-approval";

/** When it happened and a number in [0, 1) drawn for it: the chart has neither clock nor dice. */
export interface RetryStamp {
  at: number;
  jitter: number;
}

/** What the store said of the step. */
export type RecordEvent =
  | { type: "record.fresh" }
  | { type: "record.kept"; left: LeftOff; kept: Partial<StepContext> }
  | { type: "record.recorded"; result: StepResult }
  | { type: "record.reported" }
  | { type: "record.duplicate" }
  | { type: "record.corrupt"; failure: Failure };

/** What policy and people said. */
export type PolicyEvent =
  | { type: "policy.allowed"; verdict: Verdict }
  | { type: "policy.asked"; verdict: Verdict; asks: Ask[] }
  | { type: "policy.denied"; verdict: Verdict }
  /** `isAnswered` when a question was put before, and the answer is there to read. */
  | { type: "approval.requested"; asks: Ask[]; isAnswered?: boolean }
  /** `asks` with the time of the next look. */
  | { type: "approval.pending"; asks: Ask[] }
  | { type: "approval.granted"; grants: Grant[] }
  /** Every question is answered, and a no was only to calls that the handler makes on its way. */
  | { type: "approval.settled"; grants: Grant[]; refusals: Refusal[] }
  | { type: "approval.rejected"; failure: Failure }
  | { type: "approval.expired"; failure: Failure };

/** What came of the work. */
export type WorkEvent =
  | { type: "execution.completed"; output: Json; usage: Usage | null; costly: boolean }
  | { type: "approval.needed"; asks: Ask[] }
  | ({
      type: "activity.failed";
      failure: Failure;
      /** What there is of an output all the same. */
      output?: Json;
      usage?: Usage | null;
      costly: boolean;
      /** Whether the work got further than any attempt before it: then its patience is whole again. */
      hasProgressed?: boolean;
    } & RetryStamp)
  | { type: "retry.due" }
  | { type: "output.valid"; output: Json }
  /** `answer`: what the model said, to be shown to it again when it is asked to mend it. */
  | { type: "output.invalid"; failure: Failure; repairable: boolean; answer?: string };

/** What came of the report and of the record. */
export type ReportEvent =
  /** `result` where its large parts were moved to an artifact; else null, and it stays as it is. */
  | { type: "result.recorded"; result: StepResult | null }
  | { type: "delivery.accepted" }
  | ({ type: "delivery.failed"; failure: Failure } & RetryStamp)
  | { type: "delivery.refused"; failure: Failure }
  /** The worker drains, and the report waits for a neighbour that is away. */
  | { type: "release.requested" }
  | { type: "step.settled" }
  | { type: "step.parked" };

/** What every state answers. `resume` is sent once to a restored actor: its state asks for its work again. */
export type InterruptEvent =
  | { type: "cancel.requested"; reason: string }
  | { type: "deadline.reached"; which: "queue" | "approval" | "executing" | "total" }
  | { type: "lease.lost" }
  /** The store will not keep this step's own data, however often it is asked. */
  | { type: "store.failed"; failure: Failure }
  | { type: "drain.requested" }
  | { type: "resume.requested" };

export type StepEvent = RecordEvent | PolicyEvent | WorkEvent | ReportEvent | InterruptEvent;
