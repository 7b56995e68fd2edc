import { cutText, wellFormedText } from "../../machines/contracts/domain/text.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";

/** Puts pieces of text together; half a surrogate pair waits for its other half. */
export class AnswerText {
  content = "";
  #half = "";

  /** What of it can be told now. */
  add(piece: unknown): string {
    if (typeof piece !== "string") return "";
    const text = this.#half + piece;
    const endsInHalf = /[\uD800-\uDBFF]$/.test(text);
    this.#half = endsInHalf ? text.slice(-1) : "";
    const told = wellFormedText(endsInHalf ? text.slice(0, -1) : text);
    this.content += told;
    return told;
  }

  end(): string {
    return wellFormedText(this.content + this.#half);
  }
}

/** Why an answer ended, as the servers say it that speak OpenAI's API, in small letters. */
const endings: Readonly<Record<string, ModelReply["finishReason"]>> = {
  stop: "stop",
  stop_sequence: "stop",
  end_turn: "stop",
  eos: "stop",
  eos_token: "stop",
  tool_calls: "tool_calls",
  tool_use: "tool_calls",
  function_call: "tool_calls",
  length: "length",
  model_length: "length",
  max_tokens: "length",
  max_output_tokens: "length",
  insufficient_system_resource: "length",
  content_filter: "refusal",
  safety: "refusal",
};

/**
 * What a word that nobody knows says is not known either: it is no good end. Some say `stop` of calls all the same. What
 * ended for calls and has none has lost them, and is no answer.
 */
export function readFinish(reason: string | null, callsTools: boolean): ModelReply["finishReason"] {
  const known = endings[(reason ?? "").toLowerCase()] ?? "other";
  return known === "stop" && callsTools ? "tool_calls" : known;
}

/** Longer than any name that a vendor is offered: nothing that is cut here names a tool. */
const longestName = 256;

export const boundedName = (name: string): string =>
  name.length <= longestName ? wellFormedText(name) : `${cutText(name, longestName - 1)}…`;

/** The model that answered, as its provider names it. */
export function modelName(said: unknown, asked: string): string {
  return typeof said === "string" && said !== "" ? boundedName(said) : asked;
}
