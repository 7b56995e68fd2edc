import type { Json, JsonObject } from "../domain/json.ts";
import type { Failure, Outcome } from "../domain/failure.ts";
import type { Usage } from "../domain/step-result.ts";

export type ModelMessage =
  | { role: "system"; content: string }
  /** `parts` where there is more than text: all of it in order; `content` is then the text alone. */
  | { role: "user"; content: string; parts?: ContentPart[] }
  | { role: "assistant"; content: string; toolCalls?: ToolCall[]; echo?: ModelEcho }
  | { role: "tool"; toolCallId: string; content: string; isError?: boolean };

export type ContentPart =
  | { type: "text"; text: string }
  /** An `https:` address, or the image itself as `data:image/TYPE;base64,…`. */
  | { type: "image"; url: string; detail?: "auto" | "low" | "high" };

/**
 * What a provider wants to see again with its own turn, unread by us: signed thinking, reasoning items. It goes from
 * the reply into the assistant's message as it is, and is left out when another provider is asked.
 */
export interface ModelEcho {
  provider: string;
  items: Json[];
}

export interface ToolCall {
  id: string;
  name: string;
  /** Parsed; empty, blank and absent ones are `{}`. Null with `problem` when the model's text was not a JSON object. */
  arguments: JsonObject | null;
  /** What is wrong with the arguments, to be told to the model. */
  problem?: string;
  /** The message ended at the token limit: such a call never runs, however whole it looks. `arguments` is null. */
  cutOff?: true;
}

export interface ModelTool {
  name: string;
  description: string;
  inputSchema: JsonObject;
}

/** One call, JSON through and through: it is part of what the journal knows the effect by. */
export interface ModelRequest {
  /** `provider/model`, or bare where the name tells the provider. */
  model: string;
  messages: ModelMessage[];
  maxTokens: number;
  temperature?: number;
  tools?: ModelTool[];
  /** `none`: the tools are shown, because the conversation has used them, and must not be called. */
  toolChoice?: "auto" | "none";
  /** JSON Schema of the answer, enforced by providers that can; the answer is checked all the same. */
  responseSchema?: JsonObject;
  /** The job's `model_params` besides the temperature and the limit, as they stand there, unknown ones too. */
  params?: JsonObject;
  idempotencyKey: string;
  /**
   * Told by those that ask one provider after another of each that failed. Before another is asked, it says whether a
   * budget holds that attempt too; its own failure ends the call.
   *
   * @param failed of that attempt alone
   * @param goesOn whether another is asked
   */
  afterAttempt?: (failed: Failure, goesOn: boolean) => Promise<Outcome<null>>;
}

/** What came so far of an answer, in the order in which it came. */
export type ModelPart =
  | { type: "text"; text: string }
  /** Some of the text of a tool call's arguments; `index` counts the calls of this answer. */
  | { type: "arguments"; index: number; id: string; name: string; text: string }
  /** What came so far is void: another provider answers from the start. */
  | { type: "restart"; provider: string; model: string }
  /** What came so far is void: the step's work failed, and what it says next, it says from the start. */
  | { type: "broken" };

/**
 * Told each part as it comes. While a promise it gave is open nothing more is read from the provider, and the
 * time-outs stand still. It must not reject.
 */
export type OnModelPart = (part: ModelPart) => void | Promise<void>;

/**
 * Why a message ended, in five words that every adapter keeps to. Only `stop` and `tool_calls` say that the model itself
 * was done: an answer completes a step and a call runs under these two alone.
 *
 *   stop         the model ended its message
 *   tool_calls   the model ended its message to have tools called
 *   length       a limit of tokens ended it, by whatever name the provider has for that
 *   refusal      the model or its provider's rules refused
 *   other        any other reason, an unknown one, or none: nobody knows whether the message is whole
 */
export type FinishReason = "stop" | "tool_calls" | "length" | "refusal" | "other";

export interface ModelReply {
  /** The provider that answered, as the configuration names it. */
  provider: string;
  /** The model that answered, as the provider names it. */
  model: string;
  content: string;
  toolCalls: ToolCall[];
  finishReason: FinishReason;
  /** Of the call that was answered; what failed attempts cost stands with them. */
  usage: Usage;
  echo?: ModelEcho;
  /** Those asked before in vain, in order. */
  attempts?: ModelAttempt[];
  /** Parameters of the request that were left out because the model does not take them, or nobody here knows them. */
  droppedParams?: string[];
  /** True when a declared script or a recording answered and no model was asked. */
  scripted?: true;
  /** True when nobody even declared one: it stands in for every model where none has a key. */
  standIn?: true;
}

/** A provider that was asked in vain before another one answered. */
export interface ModelAttempt {
  provider: string;
  model: string;
  reason: ModelTrouble;
  message: string;
  /** HTTP status, where there was one. */
  status?: number;
  usage?: Usage;
}

/** Why a model call failed, finer than its failure's kind: what chains of fallbacks go by. */
export const modelTroubles = [
  /** Too many requests for now. `rate_limited`, retryable. */
  "rate_limited",
  /** The provider has no capacity, or trouble of its own. `unavailable`, retryable. */
  "overloaded",
  /** The provider can't be reached, or its answer broke off. `unavailable`, retryable. */
  "network",
  /** Nothing came for too long, or the whole took too long. `unavailable`, retryable. */
  "timeout",
  /** The provider failed too often lately and is not asked for a while. `unavailable`, retryable. */
  "circuit_open",
  /** The conversation is longer than the model reads. `too_large`, final. */
  "context_too_long",
  /** The provider's rules forbid the request or the answer. `refused`, final. */
  "content_refused",
  /**
   * The key is missing: `unauthorized`, final. Or it is refused: the same, and `untried`, retryable. Or it is good, and
   * not for this model or call: `forbidden`, final.
   */
  "auth",
  /** The account has no money or quota left. `model_failed`, final. */
  "quota",
  /** No provider has this model. `not_found` from a provider, else `invalid_input`; final. */
  "unknown_model",
  /** The provider can't take the request. `model_failed`, final. */
  "bad_request",
  /** What came is not an answer: out of contract, too long, a number that can't be kept. Final unless it broke off. */
  "bad_answer",
  /** We called it off. `cancelled`, final. */
  "cancelled",
] as const;
export type ModelTrouble = (typeof modelTroubles)[number];

/** The `details` of every failure of a model call. */
export interface ModelFailureDetails {
  reason: ModelTrouble;
  provider?: string;
  model?: string;
  /** HTTP status, where there was one. */
  status?: number;
  /**
   * What was spent in vain, failed attempts before this one included; absent when nothing was. Read it with
   * `usageOfFailure`: money reserved for the call is settled by it.
   */
  usage?: Usage;
  /** Of a chain: the others who were asked, in order. */
  attempts?: ModelAttempt[];
}

/** One model of one provider that may serve a request. */
export interface ModelTarget {
  provider: string;
  /** As the provider names it. */
  model: string;
  /** Tokens that it reads and writes at most; absent where that is not known. */
  contextWindow?: number;
}

export interface ModelProvider {
  complete(
    request: ModelRequest,
    signal: AbortSignal,
    onPart?: OnModelPart,
  ): Promise<Outcome<ModelReply>>;
  /**
   * Who may serve a model of this name, in the order in which they are asked, or the failure that `complete` would end
   * with before anything is paid for. Absent in stand-ins that take every name.
   */
  targets?(model: string): Outcome<ModelTarget[]>;
}

/** What a failed model call says of itself; null for any other failure. */
export function modelFailureDetails({ details }: Failure): ModelFailureDetails | null {
  const reason = details?.["reason"];
  return modelTroubles.some((known) => known === reason)
    ? (details as unknown as ModelFailureDetails)
    : null;
}
