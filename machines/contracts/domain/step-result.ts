import { once } from "./once.ts";
import { type } from "arktype";
import { type Failure, failureShape } from "./failure.ts";
import type { StepType } from "./job.ts";
import { isJsonObject, type Json, type JsonObject } from "./json.ts";

/**
 * Tokens and money of a step. Money is integer micro-dollars; it is left out where no price is known.
 * `inputTokens` counts what was read from and written to a cache, `outputTokens` counts reasoning: the details are
 * parts of these two.
 */
export const usageShape = once(() =>
  type({
    inputTokens: "number.integer >= 0",
    outputTokens: "number.integer >= 0",
    "costMicros?": "number.integer >= 0",
    "cacheReadTokens?": "number.integer >= 0",
    "cacheWrite5mTokens?": "number.integer >= 0",
    "cacheWrite1hTokens?": "number.integer >= 0",
    "reasoningTokens?": "number.integer >= 0",
    /** The provider did not count, because its answer broke off or it never does: counted here from the text. */
    "estimated?": "true",
  }),
);
export type Usage = ReturnType<typeof usageShape>["infer"];

/** What a failed call had used up, from its failure's details; null when that was nothing, or is not known. */
export function usageOfFailure({ details }: Failure): Usage | null {
  const read = usageShape()(details?.["usage"]);
  return read instanceof type.errors ? null : read;
}

/** How a step ended: the one thing that is reported. */
export type StepResult =
  | { status: "completed"; output: Json; usage: Usage | null }
  | { status: "failed"; failure: Failure; output: Json; usage: Usage | null };

/** The shape of a {@link StepResult} as it comes back from a store. */
export const stepResultShape = once(() =>
  type({
    status: "'completed'",
    output: "unknown",
    usage: usageShape().or("null"),
  }).or({
    status: "'failed'",
    failure: failureShape(),
    output: "unknown",
    usage: usageShape().or("null"),
  }),
);

/** The body of `POST /v1/runs/{run_id}/steps/{step_id}`. */
export interface StepResultBody {
  status: "completed" | "failed" | "waiting_approval";
  output?: Json;
  error?: JsonObject;
  input_tokens?: number;
  output_tokens?: number;
}

/** A result as the wire has it: the error in `error`, and FerrumDeck's marker keys in `output`. */
export function toResultBody(result: StepResult, stepType?: StepType | null): StepResultBody {
  const tokens =
    result.usage === null
      ? {}
      : { input_tokens: result.usage.inputTokens, output_tokens: result.usage.outputTokens };
  if (result.status === "completed") {
    return { status: "completed", output: result.output, ...tokens };
  }
  const { kind, message, details } = result.failure;
  return {
    status: "failed",
    error: { kind, message, ...(details === undefined ? {} : { details }) },
    output: {
      ...(stepType === "llm" ? unanswered(result.output) : partial(result.output)),
      error: message,
      ...marker(result.failure),
    },
    ...tokens,
  };
}

/** Keys that readers of FerrumDeck's output look for. */
function marker({ kind, details = {} }: Failure): JsonObject {
  if (kind === "policy_denied") {
    return {
      policy_denied: true,
      ...airlockMarker(airlockViolation(details)),
    };
  }
  if (kind === "approval_rejected" || kind === "approval_expired") {
    return { requires_approval: true };
  }
  return {};
}

/** What an Airlock found in a call that it blocked, from the details of the denial; null where it blocked none. */
export function airlockViolation(details: JsonObject | undefined): JsonObject | null {
  if (details?.["blocked_by_airlock"] !== true) return null;
  const { risk_score = null, risk_level = null, violation_type = null } = details;
  const { violation_details = null } = details;
  return { risk_score, risk_level, violation_type, violation_details };
}

/** What FerrumDeck's dashboard shows of a step of which a call was blocked; nothing for null. */
export const airlockMarker = (violation: JsonObject | null): JsonObject =>
  violation === null ? {} : { airlock_blocked: true, airlock_violation: violation };

/** What FerrumDeck's dashboard reads of every llm step; what a loop did before it failed stands there, too. */
function unanswered(output: Json): JsonObject {
  const none = { response: "", tool_calls: [], iterations: 0, status: "failed" };
  if (!isJsonObject(output)) return { ...none, ...partial(output) };
  return { ...none, ...output };
}

function partial(output: Json): JsonObject {
  return output === null ? {} : { partial: output };
}
