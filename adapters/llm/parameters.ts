import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";

/** The wire formats that we speak. */
export type Protocol = "anthropic" | "chat" | "responses";

/** Parameters as the wire has them, and the names of those that were left out. */
export interface WrittenParams {
  written: JsonObject;
  dropped: string[];
}

type Write = (value: Json) => JsonObject;

interface Parameter {
  /** Whether a value is one. */
  takes: (value: Json) => boolean;
  /** How each protocol has it; absent where it does not. */
  anthropic?: Write;
  chat?: Write;
  responses?: Write;
}

const as =
  (name: string): Write =>
  (value) => ({ [name]: value });
const between = (least: number, most: number) => (value: Json) =>
  typeof value === "number" && value >= least && value <= most;
const isWhole = (value: Json) => Number.isSafeInteger(value);
const isFlag = (value: Json) => typeof value === "boolean";
const isStop = (value: Json) =>
  typeof value === "string" ||
  (Array.isArray(value) && value.length <= 16 && value.every((item) => typeof item === "string"));
const list = (value: Json): Json => (Array.isArray(value) ? value : [value]);
const efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/** What a job's `model_params` may say besides the limit, in the names of OpenAI's chat completions. */
const parameters: Readonly<Record<string, Parameter>> = {
  temperature: {
    takes: between(0, 2),
    anthropic: as("temperature"),
    chat: as("temperature"),
    responses: as("temperature"),
  },
  top_p: {
    takes: between(0, 1),
    anthropic: as("top_p"),
    chat: as("top_p"),
    responses: as("top_p"),
  },
  top_k: { takes: isWhole, anthropic: as("top_k") },
  stop: {
    takes: isStop,
    anthropic: (value) => ({ stop_sequences: list(value) }),
    chat: as("stop"),
  },
  seed: { takes: isWhole, chat: as("seed") },
  presence_penalty: { takes: between(-2, 2), chat: as("presence_penalty") },
  frequency_penalty: { takes: between(-2, 2), chat: as("frequency_penalty") },
  reasoning_effort: {
    takes: (value) => typeof value === "string" && efforts.includes(value),
    anthropic: (effort) => ({ output_config: { effort } }),
    chat: as("reasoning_effort"),
    responses: (effort) => ({ reasoning: { effort } }),
  },
  parallel_tool_calls: {
    takes: isFlag,
    chat: as("parallel_tool_calls"),
    responses: as("parallel_tool_calls"),
  },
  thinking: { takes: isJsonObject, anthropic: as("thinking") },
  verbosity: {
    takes: (value) => value === "low" || value === "medium" || value === "high",
    chat: as("verbosity"),
    responses: (verbosity) => ({ text: { verbosity } }),
  },
};

const sampling = ["temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"];
const openaiReasoning = /^(?:o\d|gpt-5(?!-chat)|gpt-oss)/u;
const claudeEffort = /^claude-(?:opus-4-[5-9]|sonnet-4-[6-9]|[a-z]+-(?:[5-9]|\d\d))(?!\d)/u;
const claudeWithoutSampling = /^claude-(?:opus-4-[7-9]|[a-z]+-[5-9])(?!\d)/u;

/**
 * What models refuse although their protocol has it, by the model's name without a vendor before it. OpenAI's
 * reasoning models take no sampling parameters, its other ones no effort; so it is with Anthropic's newest.
 */
const refusals: readonly { protocol: "anthropic" | "openai"; models: RegExp; names: string[] }[] = [
  { protocol: "openai", models: openaiReasoning, names: [...sampling, "seed"] },
  { protocol: "openai", models: /^(?:o3|o4|gpt-5(?!-chat))/u, names: ["stop"] },
  { protocol: "openai", models: /^(?:gpt-[34]|gpt-5-chat|chatgpt)/u, names: ["reasoning_effort"] },
  { protocol: "openai", models: /^(?!gpt-5)/u, names: ["verbosity"] },
  { protocol: "openai", models: /^o1-mini/u, names: ["reasoning_effort", "parallel_tool_calls"] },
  { protocol: "anthropic", models: claudeWithoutSampling, names: sampling },
];

function isRefused(protocol: Protocol, model: string, name: string, value: Json): boolean {
  const family = protocol === "anthropic" ? "anthropic" : "openai";
  const plain = model.slice(model.lastIndexOf("/") + 1);
  if (family === "anthropic" && name === "temperature" && Number(value) > 1) return true;
  if (family === "anthropic" && name === "reasoning_effort") {
    return !claudeEffort.test(plain) || value === "none" || value === "minimal";
  }
  return refusals.some(
    ({ protocol: whose, models, names }) =>
      whose === family && models.test(plain) && names.includes(name),
  );
}

/** The request's parameters as a protocol has them; those that the model would refuse are left out and named. */
export function writeParams(protocol: Protocol, request: ModelRequest): WrittenParams {
  const { model, temperature, params = {} } = request;
  const given: JsonObject = { ...params, ...(temperature === undefined ? {} : { temperature }) };
  let written: JsonObject = {};
  const dropped: string[] = [];
  for (const [name, value] of Object.entries(given)) {
    // As everywhere in a job's input, null stands for absent.
    if (value === null) continue;
    const parameter = Object.hasOwn(parameters, name) ? parameters[name] : undefined;
    const write = parameter?.[protocol];
    if (write === undefined || parameter?.takes(value) !== true) dropped.push(name);
    else if (isRefused(protocol, model, name, value)) dropped.push(name);
    else written = { ...written, ...write(value) };
  }
  if (protocol === "anthropic") dropIncompatible(written, dropped);
  return { written, dropped: dropped.sort() };
}

/** Anthropic takes the temperature or `top_p`, and neither, nor `top_k`, while a model thinks. */
function dropIncompatible(written: JsonObject, dropped: string[]): void {
  const { thinking } = written;
  const isThinking = isJsonObject(thinking) && thinking["type"] !== "disabled";
  const both = "temperature" in written && "top_p" in written;
  const names = isThinking ? ["temperature", "top_p", "top_k"] : both ? ["top_p"] : [];
  for (const name of names) {
    if (!(name in written)) continue;
    delete written[name];
    dropped.push(name);
  }
}

/** Newer models refuse the old name of the limit; other servers often know only that one. */
export function limitName(
  model: string,
  isOpenai: boolean,
): "max_tokens" | "max_completion_tokens" {
  const plain = model.slice(model.lastIndexOf("/") + 1);
  return isOpenai || /^(?:o\d|gpt-5)/u.test(plain) ? "max_completion_tokens" : "max_tokens";
}

/** Whether a model of OpenAI's thinks before it answers. */
export function reasons(model: string): boolean {
  return openaiReasoning.test(model.slice(model.lastIndexOf("/") + 1));
}
