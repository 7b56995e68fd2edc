import type { Ask, Verdict } from "../domain/action.ts";
import type { JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";
import type { StepResultBody } from "../domain/step-result.ts";
import type { EffectUse, StepKey } from "../domain/record.ts";
import type { ApprovalView, RunView, StepView } from "../wire/views.ts";

/**
 * What a control plane can do beyond FerrumDeck, as it advertises in `extensions` of `GET /health`.
 * FerrumDeck's gateway advertises none; then only FerrumDeck's calls are made.
 * `idempotent-results`: results carry `Idempotency-Key` and a fence; repeats are recognised.
 * `approvals`: `POST /v1/approvals` and `GET /v1/approvals/{id}`.
 * `events`: `GET /v1/events`, server-sent run changes.
 * `budget-reservations`: what a model call may use is reserved at the run's budget before it is made.
 * `step-texts`: `POST /v1/events/text`, what models say, passed on to those who watch their runs.
 */
export type Extension =
  | "idempotent-results"
  | "approvals"
  | "events"
  | "budget-reservations"
  | "step-texts"
  | "step-traces"
  | "airlock";

/** A piece of what a step's model says. */
export interface SaidText extends StepKey {
  text: string;
  /** What the step's model said before it is void: that answer broke off, and is begun again. */
  restart?: true;
}

/** What one model call may use at most, by an estimate from above. */
export interface Reservation extends StepKey {
  /** Names it within its run: the same is granted once, however often it is asked for. */
  id: string;
  inputTokens: number;
  outputTokens: number;
  /** Null where no price is known. */
  costMicros: number | null;
}

/** A run's budget, kept by the control plane for all workers together. */
export interface BudgetReservations {
  /** `budget_exceeded`, with the numbers, where the run's budget does not hold it; then nothing is reserved. */
  reserve(reservation: Reservation, signal: AbortSignal): Promise<Outcome<null>>;
  /**
   * What was used in place of what was reserved. A reservation that is never settled counts as used. `untried` where the
   * provider could not be asked: the step waits for it, which is no wall time of its run.
   */
  settle(used: Reservation & { untried?: true }, signal: AbortSignal): Promise<Outcome<null>>;
}

export interface ToolCheck {
  runId: string;
  /** Names the call within its run: one that is looked at again after a wait has the same, and counts once. */
  callId?: string;
  /** Bare, without its server. */
  toolName: string;
  /** The MCP server that the name was resolved to; absent for a tool of our own. */
  server?: string;
  toolInput: JsonObject;
  /** Where its arguments were copied from, for the audit. */
  provenance?: JsonObject;
  estimatedCostCents?: number;
}

export interface Report extends StepKey {
  fence: number;
  /** What of this step is reported, the same whenever the same is reported again. Any text: it is sent as a digest. */
  idempotencyKey: string;
  body: StepResultBody;
  /** For whoever looks at it later. What of it differs from one sending to the next makes no other report of it. */
  trace?: StepTrace;
}

/** The states that a step passed, and its effects with their times in epoch milliseconds and what they used: none of their content. */
export interface StepTrace {
  states: readonly string[];
  /** When each state was entered; null where an earlier attempt did. */
  entered: readonly (number | null)[];
  effects: readonly EffectTimes[];
}

export interface EffectTimes {
  /** As the journal names it. */
  name: string;
  /** What it does, where its name does not say so: `model:openai/gpt-5`. */
  what?: string;
  /** What a model's answer used. */
  used?: EffectUse;
  begunAt: number | null;
  completedAt: number | null;
}

/**
 * `accepted`: applied now. `repeated`: recognised as already applied.
 * `ended`: the step or its run has already ended otherwise (cancelled, say); the report changes nothing.
 */
export type Reception = "accepted" | "repeated" | "ended";

/**
 * The worker's side of the control plane's HTTP API. Never retries; a failure says whether one may. What answers in
 * place of the control plane, whatever its status, is an `unavailable` failure: never a yes, never "not there".
 */
export interface ControlPlane {
  /** Milliseconds after which every call has an answer, if only that there was none. */
  readonly callTimeoutMs?: number;
  /** Whether it answers at all, now: never from a cache. */
  ping(signal: AbortSignal): Promise<Outcome<null>>;
  /**
   * Cached for a while, and never fewer than before in this process. `unavailable` only while nothing is known: then
   * the control plane can't be reached, or its `/health` can't be read.
   */
  extensions(signal: AbortSignal): Promise<Outcome<ReadonlySet<Extension>>>;
  checkTool(check: ToolCheck, signal: AbortSignal): Promise<Outcome<Verdict>>;
  report(report: Report, signal: AbortSignal): Promise<Outcome<Reception>>;
  /** Only where `budget-reservations` is advertised; absent in stand-ins. */
  readonly budgets?: BudgetReservations | undefined;
  /** Passes on what models say, to be shown; a failure where `step-texts` is not advertised. Absent in stand-ins. */
  tellTexts?(texts: readonly SaidText[], signal: AbortSignal): Promise<Outcome<null>>;
  /** Idempotent by step and digest. Only where `approvals` is advertised. */
  requestApproval(step: StepKey, ask: Ask, signal: AbortSignal): Promise<Outcome<ApprovalView>>;
  /** Whatever is advertised by now. */
  findApproval(id: string, signal: AbortSignal): Promise<Outcome<ApprovalView>>;
  run(runId: string, signal: AbortSignal): Promise<Outcome<RunView>>;
  steps(runId: string, signal: AbortSignal): Promise<Outcome<StepView[]>>;
}
