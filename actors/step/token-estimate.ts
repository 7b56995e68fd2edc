import type { ModelMessage, ModelRequest } from "../../machines/contracts/ports/model-provider.ts";

/**
 * Tokens of a text, estimated from above and in linear time: a run of small letters is a token for every two of them, a
 * run of digits one for every two, spaces in a row one for every sixteen, any other ASCII character one, capitals too, and
 * a character of another script one or, from U+0800 on, one and a half. Letters at random, which are no language's, may
 * be a quarter more. Tokenizers themselves are not used: the exact ones for Claude are not public, and the public ones
 * need time that grows with the square of a text without spaces.
 */
export function estimateTokens(text: string): number {
  let tokens = 0;
  let last = "";
  let run = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const kind = kindOf(code);
    if (kind !== last) run = 0;
    last = kind;
    if (run % tokenLength[kind] === 0) tokens += kind === "other" && code >= 0x800 ? 1.5 : 1;
    run += 1;
  }
  return Math.ceil(tokens);
}

type Kind = "small" | "capital" | "digit" | "space" | "mark" | "other";

/** Characters of a kind that make a token at least. */
const tokenLength: Readonly<Record<Kind, number>> = {
  small: 2,
  capital: 1,
  digit: 2,
  space: 16,
  mark: 1,
  other: 1,
};

function kindOf(code: number): Kind {
  if (code >= 0x61 && code <= 0x7a) return "small";
  if (code >= 0x41 && code <= 0x5a) return "capital";
  if (code >= 0x30 && code <= 0x39) return "digit";
  if (code === 0x20) return "space";
  return code < 0x80 ? "mark" : "other";
}

/** What providers add to a request of their own: a little for each message and tool, and their instructions for tools. */
const perMessage = 8;
const perTool = 16;
const forTools = 400;
/** An image, whatever its size: providers scale it down. Only the smallest models count more. */
const perImage = 6_000;

/** A request that was made, and what its provider counted it as. */
export interface CountedRequest {
  request: Pick<ModelRequest, "model" | "messages" | "tools">;
  inputTokens: number;
}

/**
 * Tokens that a request is read as at most. Where it goes on with a conversation that its provider has counted, only
 * what was added is estimated: an estimate from above of all of it would use up a budget long before the money does.
 */
export function estimateNext(
  request: Pick<ModelRequest, "model" | "messages" | "tools" | "responseSchema">,
  counted: CountedRequest | null,
): number {
  const whole = estimateInput(request);
  if (counted === null || !goesOn(request, counted.request)) return whole;
  const added = request.messages.slice(counted.request.messages.length);
  return Math.min(whole, counted.inputTokens + estimateInput({ messages: added }));
}

function goesOn(
  next: Pick<ModelRequest, "model" | "messages" | "tools">,
  last: CountedRequest["request"],
): boolean {
  if (next.model !== last.model || next.tools?.length !== last.tools?.length) return false;
  return last.messages.every((message, at) => {
    const same = next.messages[at];
    if (same?.role !== message.role || same.content !== message.content) return false;
    if (imagesIn(same) !== imagesIn(message)) return false;
    if (same.role !== "assistant" || message.role !== "assistant") return true;
    return same.toolCalls?.length === message.toolCalls?.length;
  });
}

const imagesIn = (message: ModelMessage): number =>
  message.role === "user"
    ? (message.parts?.filter((part) => part.type === "image").length ?? 0)
    : 0;

/** Tokens that a request is read as at most, by {@link estimateTokens}. */
export function estimateInput({
  messages,
  tools = [],
  responseSchema,
}: Pick<ModelRequest, "messages" | "tools" | "responseSchema">): number {
  let tokens = 0;
  for (const message of messages) {
    tokens += perMessage + estimateTokens(message.content) + perImage * imagesIn(message);
    if (message.role !== "assistant") continue;
    for (const call of message.toolCalls ?? []) {
      tokens += perTool + estimateTokens(call.name + JSON.stringify(call.arguments ?? {}));
    }
    if (message.echo !== undefined) tokens += estimateTokens(JSON.stringify(message.echo.items));
  }
  for (const { name, description, inputSchema } of tools) {
    tokens += perTool + estimateTokens(name + description + JSON.stringify(inputSchema));
  }
  if (tools.length > 0 || responseSchema !== undefined) tokens += forTools;
  if (responseSchema !== undefined) tokens += estimateTokens(JSON.stringify(responseSchema));
  return tokens;
}
