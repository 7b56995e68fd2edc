import { type } from "arktype";
import type { TroubleKind } from "./errors.ts";
import type { JsonObject } from "./json.ts";
import { once } from "./once.ts";

/**
 * What went wrong, in the terms the engine acts on. The kind is decided once, at the adapter, where the facts
 * are; nothing later reads the message to decide anything. A line a kind: who makes it; whether it is retried;
 * what its user does.
 */
export const failureKinds = [
  /** The stream entry can't be read. Never retried; mend the publisher, then `stateplane dlq retry`. */
  "invalid_job",
  /** The step's input or schema can't be used. Never retried; mend the job. */
  "invalid_input",
  /** What came out breaks its schema or its bounds. A model's answer is sent back a bounded number of times. */
  "invalid_output",
  /** The worker's lists, the user's policy or the control plane say no. Never retried; change a list. */
  "policy_denied",
  /** Policy can't be asked at the moment. Waited for; look at the control plane. */
  "policy_unavailable",
  /** A person said no. Never retried. */
  "approval_rejected",
  /** Nobody answered in time. Never retried; submit the run again. */
  "approval_expired",
  /** The next call would break the run's budget. Never retried; raise the budget. */
  "budget_exceeded",
  /** An agent met its cap, or went in a circle, before it had an answer. Never retried; raise the cap, or ask for less. */
  "incomplete",
  /** The run was cancelled, or has ended otherwise. Never retried. */
  "cancelled",
  /** A deadline of the step passed. Never retried; raise the deadline it names. */
  "timeout",
  /** An unsafe effect was begun and its outcome is unknown. A person is asked, or the step fails, as configured. */
  "in_doubt",
  /** A neighbour asked for fewer calls. Retried, not before it said. */
  "rate_limited",
  /** A neighbour can't be reached, or answers what it should not. Retried. */
  "unavailable",
  /**
   * A key is refused. By the control plane or the store: the worker waits and takes no jobs until a person mends the
   * key. By a model's provider: the steps that ask for it wait, up to an hour, and others go on. By a tool server or
   * the retrieval service: the step fails, where it is not tried again.
   */
  "unauthorized",
  /** The key is good, and not for this run, tool or model. Never retried. */
  "forbidden",
  /** A disk is full or a folder can't be written. The worker waits until a person mends it. */
  "misconfigured",
  /** The thing asked for is not there. Never retried. */
  "not_found",
  /** Another worker has the step, or the name is ambiguous. Never retried here. */
  "conflict",
  /** Larger than its reader takes. Never retried. */
  "too_large",
  /** A neighbour understood the request and refuses it. Never retried; the message has its words. */
  "refused",
  /** A tool ran and says that it failed. Retried only when it is safe to repeat. */
  "tool_failed",
  /** The code ended badly, or too late. Never retried; its output is in the details. */
  "sandbox_failed",
  /** A handler of the user's threw, or returned what no handler may. Never retried; mend the handler. */
  "handler_failed",
  /** A model's provider failed or refused to answer. Retried when the provider says that it may pass. */
  "model_failed",
  /** Workers died of this job again and again. A dead letter, with the first cause. */
  "delivered_too_often",
  /** What the store keeps of the step can't be read. A dead letter. */
  "corrupt_record",
  /** A fault of this program. A dead letter or a failed step; report it. */
  "internal",
] as const;

export type FailureKind = (typeof failureKinds)[number];

export interface Failure {
  kind: FailureKind;
  /** One line for a person; never a secret, never a stack. */
  message: string;
  /** Whether doing the same again may succeed. Only the step machine retries. */
  retryable: boolean;
  /** How long the neighbour asked us to wait, in milliseconds. */
  retryAfterMs?: number;
  /**
   * The neighbour was not asked (its tools are quarantined, say), or did nothing but refuse this worker's key: nothing was
   * begun and nothing was paid. The step waits, put away, and no attempt of it is counted. Only with `retryable`.
   */
  untried?: true;
  details?: JsonObject;
}

/** How long a step waits for a neighbour that it could not even ask, before that fails it. Milliseconds. */
export const maxHeldMs = 60 * 60 * 1_000;

/** The shape of a {@link Failure} as it comes back from a store or a snapshot. */
export const failureShape = once(() =>
  type({
    kind: type.enumerated(...failureKinds),
    message: "string",
    retryable: "boolean",
    "retryAfterMs?": "number >= 0",
    "untried?": "true",
    "details?": "object",
  }),
);

/** A failure that no retry will mend. */
export function terminal(kind: FailureKind, message: string, details?: JsonObject): Failure {
  return details === undefined
    ? { kind, message, retryable: false }
    : { kind, message, retryable: false, details };
}

/** A failure that may pass. */
export function retryable(kind: FailureKind, message: string, retryAfterMs?: number): Failure {
  return retryAfterMs === undefined
    ? { kind, message, retryable: true }
    : { kind, message, retryable: true, retryAfterMs };
}

/** Expected trouble is a value; only what nobody expected is thrown. */
export type Outcome<T> = { ok: true; value: T } | { ok: false; failure: Failure };

export function ok<T>(value: T): Outcome<T> {
  return { ok: true, value };
}

export function fail(failure: Failure): { ok: false; failure: Failure } {
  return { ok: false, failure };
}

/** Whose trouble a failure is; see {@link TroubleKind}. */
export function troubleOf(failure: Failure): TroubleKind {
  if (failure.kind === "unauthorized" || failure.kind === "misconfigured") return "ours";
  return failure.retryable ? "passing" : "step";
}
