import type { Action, Ask, Grant, Verdict } from "../../machines/contracts/domain/action.ts";
import type { Failure, Outcome } from "../../machines/contracts/domain/failure.ts";
import type { BroughtText } from "../../machines/contracts/domain/airlock/provenance.ts";
import type { Job, StepType } from "../../machines/contracts/domain/job.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { Held } from "../../machines/contracts/domain/record.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { OnModelPart } from "../../machines/contracts/ports/model-provider.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type { Recalled } from "../step/journal.ts";
import type { CallBudget } from "../step/budget.ts";
import type { StepScreen } from "../step/screening.ts";
import type { ScreeningOptions } from "../options.ts";

/** How a handler's work came out. */
export type HandlerResult =
  | { kind: "done"; output: Json; usage?: Usage | null }
  | { kind: "asked"; asks: Ask[] }
  /** `output`: what there is of one all the same; it is reported with the failure. */
  | {
      kind: "failed";
      failure: Failure;
      output?: Json;
      usage?: Usage | null;
      /** Of a denial: it ends the step, where else an agent's model is told of it. */
      failsStep?: true;
    };

/**
 * One touch of the outside world.
 * `free`: safe and costs nothing to repeat; writes nothing.
 * `safe`: may be repeated, but costs; its result is journalled, so a take-over does not pay twice.
 * `unsafe`: its intent is journalled before, its result after; in doubt, a person is asked.
 */
export interface Effect<T extends Json> {
  name: string;
  /**
   * What the journal knows this effect by, where name and input may not be the same in every session, or where several
   * are under way at once: `model#3`. Each key is used for one effect of the step. Without one it is known by its name,
   * its input's digest and its occurrence.
   */
  key?: string;
  input: Json;
  repeat: "free" | "safe" | "unsafe";
  /** It does nothing but keep what became of the effect that was begun under its key and given up. */
  concludes?: true;
  /** It touches nothing outside, and only keeps what was said or seen. */
  isInner?: boolean;
  /** What it may use of the step's own budget: known to whoever takes the step over, should it be cut short. */
  holds?: Held | null;
  /** The grant this effect spends. */
  grant?: Grant;
  /** What was allowed; the step's own action where it is missing. Asked about again where a wait came between. */
  action?: Action;
  /** Of a tool: what exactly is called, for people who are asked whether it may be repeated. */
  target?: Pick<Action, "server" | "schema">;
  /**
   * Does it. For an unsafe effect a retryable failure says that nothing happened, and `in_doubt` that it can't
   * be known whether anything did.
   *
   * @param grant the person's yes by which it is done: the effect's own, or the one that let it be repeated
   */
  run(signal: AbortSignal, idempotencyKey: string, grant?: Grant): Promise<Outcome<T>>;
}

export type Permission =
  /** `action` is what was allowed: a tool's name in it is resolved to its server and schema. */
  | { allowed: true; grant: Grant | null; action: Action; verdict: Verdict }
  /** Nobody has said yes to exactly this action: what asks for it, or says why it is denied. */
  | { allowed: false; result: HandlerResult; action: Action; verdict: Verdict | null };

/** All a handler may see and do. */
export interface StepScope {
  job: Job;
  /** Aborted when the step is cancelled, times out, loses its lease or drains. */
  signal: AbortSignal;
  /** What validation found wrong with the last output, or null. */
  repairNote: string | null;
  /** The model's answer in which that was found, or null. */
  repairAnswer: string | null;
  /** How often the output was sent back to be mended so far. */
  repairs: number;
  /** Whether a failure that may pass is final if it comes now. */
  isLastAttempt: boolean;
  log: Log;
  /** What goes to a model, and what is given on, is screened with it. */
  screening: Omit<ScreeningOptions, "output"> & StepScreen;
  /** Told each part of a model's answer as it comes; absent where nobody listens. */
  onPart?: OnModelPart;
  /** The budgets of the step and its run: to be kept by every model call and tool call. */
  budget: CallBudget;
  /**
   * Whether exactly this action may be done now. The step's own was judged before; any other is judged as it is asked
   * about: a tool by the worker's lists, the user's policy and the control plane, anything else by a person.
   */
  permission(action: Action): Promise<Permission>;
  /** What tools have brought so far: what is permitted next may have been copied out of it. */
  brought(texts: () => readonly BroughtText[]): void;
  /** What the journal has of the effect with this key. */
  recall(key: string): Recalled;
  /** A call as a person has edited it before saying yes; itself where nobody has. */
  edited(action: Action): Action;
  /** Runs an effect, or reads its result from the journal. On `ok: false` return `work` from the handler. */
  effect<T extends Json>(
    effect: Effect<T>,
  ): Promise<{ ok: true; value: T } | { ok: false; result: HandlerResult }>;
}

/** The work of one step type. Called again from the start after a take-over; its effects are not. */
export type StepHandler = (scope: StepScope) => Promise<HandlerResult>;

/**
 * Work of the user's own, in place of a step type's or of one tool's.
 *
 * @param next does the work that this one stands before: of a tool's handler that of its step type, of a step type's the
 *   built-in one
 */
export type UsersHandler = (
  scope: StepScope,
  next: () => Promise<HandlerResult>,
) => Promise<HandlerResult>;

/** By step type, or by tool: `tool:charge_card`, `tool:bank/charge_card`. */
export type UsersHandlers = Partial<Record<StepType | `tool:${string}`, UsersHandler>>;
