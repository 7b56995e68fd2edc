import { type } from "arktype";
import type { TroubleKind } from "./errors.ts";
import type { JsonObject } from "./json.ts";

/**
 * What went wrong, in the terms the engine acts on. The kind is decided once, at the adapter,
 * where the facts are; nothing later reads the message to decide anything.
 */
export const failureKinds = [
  "invalid_job",
  "invalid_input",
  "invalid_output",
  "policy_denied",
  "policy_unavailable",
  "approval_rejected",
  "approval_expired",
  "budget_exceeded",
  "cancelled",
  "timeout",
  "in_doubt",
  "rate_limited",
  "unavailable",
  "unauthorized",
  "forbidden",
  "misconfigured",
  "not_found",
  "conflict",
  "too_large",
  "refused",
  "tool_failed",
  "sandbox_failed",
  "model_failed",
  "delivered_too_often",
  "corrupt_record",
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
  details?: JsonObject;
}

/** The shape of a {@link Failure} as it comes back from a store or a snapshot. */
export const failureShape = type({
  kind: type.enumerated(...failureKinds),
  message: "string",
  retryable: "boolean",
  "retryAfterMs?": "number >= 0",
  "details?": "object",
});

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
