import { once } from "./once.ts";
import { type } from "arktype";
import { type Failure, terminal } from "./failure.ts";
import type { ContentPart, ModelMessage, ToolCall } from "../ports/model-provider.ts";
import { budgetProblem, budgetShape } from "./budget.ts";
import { isJsonObject, jsonDepth, type JsonObject, parseJson } from "./json.ts";
import type { StepType } from "./job.ts";
import { wellFormed } from "./text.ts";

const textPart = once(() => type({ type: "'text'", text: "string" }));

/** Text, or its parts as OpenAI's API has them. */
const content = once(() => type("string").or(textPart().array()));

/** Where an image is, or the image itself. No provider takes more. */
const imageUrl = once(() =>
  type("string").narrow(
    (url, ctx) =>
      /^data:image\/[a-z0-9.+-]+;base64,[A-Za-z0-9+/]+={0,2}$/u.test(url) ||
      URL.parse(url)?.protocol === "https:" ||
      ctx.reject({ expected: "an https: address, or data:image/TYPE;base64, and the image" }),
  ),
);

const imagePart = once(() =>
  type({
    type: "'image_url'",
    image_url: imageUrl().or({ url: imageUrl(), "detail?": "'auto' | 'low' | 'high' | null" }),
  }),
);

/** A user's message may have images. Of other parts (sounds, files) we know nothing, and say so. */
const userContent = once(() => type("string").or(textPart().or(imagePart()).array()));

const toolCall = once(() =>
  type({
    id: "string",
    /** A text as OpenAI's API has it; some servers, and what was copied from them, give the object itself. */
    function: { name: "string", "arguments?": "string | object | null" },
  }),
);

const message = once(() =>
  type({ role: "'system' | 'developer'", content: content() })
    .or({ role: "'user'", content: userContent() })
    .or({
      role: "'assistant'",
      "content?": content().or("null"),
      "tool_calls?": toolCall().array().or("null"),
    })
    .or({ role: "'tool'", tool_call_id: "string", "content?": content().or("null") }),
);

/** The limits of this step alone, beside those of its run. */
const stepBudget = once(() => budgetShape.onDeepUndeclaredKey("delete").or("null"));

const documents = once(() =>
  type({ "content?": "string | null", "[string]": "unknown" }).array().or("null"),
);

/** The arguments each step type takes. Keys beyond these are passed over; null stands for absent, as in FerrumDeck. */
export const llmInput = once(() =>
  type({
    "model?": "string | null",
    "task?": "string | null",
    "system_prompt?": "string | null",
    "messages?": message().array().or("null"),
    "prompt?": "string | null",
    "content?": "string | null",
    /** Texts from outside: shown as marked data. */
    "documents?": documents(),
    "max_tokens?": "number.integer > 0 | null",
    "temperature?": "0 <= number <= 2 | null",
    "model_params?": "object | null",
    "allowed_tools?": "string[] | null",
    "output_schema?": "object | null",
    /** Whether tools are offered; absent, they are for a `task`. */
    "agentic_mode?": "boolean | null",
    /** Fewer than the worker's own limit. */
    "max_iterations?": "number.integer > 0 | null",
    /** What an agent's step ends as that met its cap before it had an answer; absent for `fail`. */
    "on_incomplete?": "'fail' | 'partial' | null",
    "budget?": stepBudget(),
  }),
);
export const toolInput = once(() =>
  type({
    tool_name: "0 < string <= 255",
    "tool_input?": "object | null",
    "allowed_tools?": "string[] | null",
    "budget?": stepBudget(),
  }),
);
export const retrievalInput = once(() =>
  type({
    query: "string > 0",
    "collection?": "string | null",
    "top_k?": "1 <= number.integer <= 1000 | null",
    "backend?": "'local' | 'httpx' | 'http' | 'index' | null",
    /** Globs, any of which will do. */
    "filter?": type({
      "+": "reject",
      "source?": type("string").or("string[] <= 100"),
      "kind?": type("string").or("string[] <= 100"),
    }).or("null"),
    "documents?": documents(),
  }),
);
export const sandboxInput = once(() =>
  type({
    code: "string > 0",
    "language?": "'python' | 'bash' | 'node' | 'javascript' | 'typescript' | null",
    "args?": "string[] <= 256 | null",
    "stdin?": "string | null",
    "fail_on_nonzero?": "boolean | null",
    "timeout_seconds?": "0 < number <= 3600 | null",
    "memory_mib?": "16 <= number.integer <= 1024 | null",
    "env?": "Record<string, string> | null",
    "files?": "Record<string, string> | null",
    "outputs?": "string[] <= 100 | null",
    "max_output_files?": "1 <= number.integer <= 1000 | null",
    "max_output_mib?": "1 <= number.integer <= 64 | null",
  }),
);
export const approvalInput = once(() =>
  type({
    "message?": "string | null",
    "approval_message?": "string | null",
  }),
);

/** The messages of an llm step's input as a model's provider takes them; null when it has none, or an empty list. */
export function readMessages(
  given: ReturnType<typeof llmInput>["infer"]["messages"],
): ModelMessage[] | null {
  const messages = given?.map(readMessage) ?? [];
  return messages.length === 0 ? null : messages;
}

function readMessage(given: ReturnType<typeof message>["infer"]): ModelMessage {
  if (given.role === "user") return readUserMessage(given.content);
  const text = readContent(given.content);
  switch (given.role) {
    case "tool":
      return { role: "tool", toolCallId: given.tool_call_id, content: text };
    case "assistant": {
      const calls = (given.tool_calls ?? []).map(readToolCall);
      return {
        role: "assistant",
        content: text,
        ...(calls.length === 0 ? {} : { toolCalls: calls }),
      };
    }
    // OpenAI's newer name for the same.
    case "developer":
      return { role: "system", content: text };
    default:
      return { role: given.role, content: text };
  }
}

function readUserMessage(given: ReturnType<typeof userContent>["infer"]): ModelMessage {
  if (typeof given === "string") return { role: "user", content: given };
  const text = readContent(given.filter((part) => part.type === "text"));
  if (given.every((part) => part.type === "text")) return { role: "user", content: text };
  const parts = given.map((part): ContentPart => {
    if (part.type === "text") return part;
    const { image_url: image } = part;
    if (typeof image === "string") return { type: "image", url: image };
    const { url, detail } = image;
    return { type: "image", url, ...(detail === undefined || detail === null ? {} : { detail }) };
  });
  return { role: "user", content: text, parts };
}

function readContent(given: ReturnType<typeof content>["infer"] | null | undefined): string {
  if (typeof given === "string") return given;
  return (given ?? []).map(({ text }) => text).join("");
}

function readToolCall({ id, function: called }: ReturnType<typeof toolCall>["infer"]): ToolCall {
  return { id, name: called.name, ...readToolArguments(called.arguments) };
}

/** A step's output is nested 64 levels at most, and has its calls' arguments three levels down. */
const maxArgumentsDepth = 60;

/**
 * The arguments of a tool call as a model wrote them, text or already parsed: none are an empty object; what is no
 * object, can't be kept exactly, or is nested deeper than the step's output may be, is null with what is wrong.
 */
export function readToolArguments(
  given: unknown,
): { arguments: JsonObject } | { arguments: null; problem: string } {
  if (given === undefined || given === null) return { arguments: {} };
  if (typeof given === "string" && given.trim() === "") return { arguments: {} };
  const read = typeof given === "string" ? parseJson(given) : ({ ok: true, value: given } as const);
  if (!read.ok && read.reason !== "syntax") {
    return { arguments: null, problem: `the arguments are JSON that ${read.problem}` };
  }
  if (read.ok && jsonDepth(read.value, maxArgumentsDepth) > maxArgumentsDepth) {
    const problem = `the arguments are nested deeper than ${maxArgumentsDepth} levels`;
    return { arguments: null, problem };
  }
  return read.ok && isJsonObject(read.value)
    ? { arguments: wellFormed(read.value) }
    : { arguments: null, problem: "the arguments are not a JSON object" };
}

const shapes = {
  llm: llmInput,
  tool: toolInput,
  retrieval: retrievalInput,
  sandbox: sandboxInput,
  approval: approvalInput,
};

/** Makes one shape after the other: the first step of a type would wait for its own, some 10 ms. */
export function* makeInputShapes(): Generator<void, void> {
  for (const make of Object.values(shapes)) {
    make();
    yield;
  }
}

/** What is wrong with a step's input, or null when its handler can take it. */
export function stepInputProblem(stepType: StepType, input: JsonObject): Failure | null {
  const read = shapes[stepType]()(input);
  const takesBudget = stepType === "llm" || stepType === "tool";
  const problem =
    read instanceof type.errors
      ? read.summary
      : takesBudget
        ? budgetProblem(input["budget"], "budget")
        : null;
  return problem === null ? null : terminal("invalid_input", `${stepType} step input: ${problem}`);
}
