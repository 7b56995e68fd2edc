import { type } from "arktype";
import { type Failure, terminal } from "./failure.ts";
import type { JsonObject } from "./json.ts";
import type { StepType } from "./job.ts";

/** The arguments each step type takes. Keys beyond these are passed over. */
const message = type({
  role: "'system' | 'user' | 'assistant'",
  content: "string",
});

export const llmInput = type({
  "model?": "string",
  "task?": "string",
  "system_prompt?": "string | null",
  "messages?": message.array(),
  "prompt?": "string",
  "content?": "string",
  "max_tokens?": "number.integer > 0",
  "temperature?": "0 <= number <= 2",
  "model_params?": "object | null",
  "allowed_tools?": "string[] | null",
  "output_schema?": "object | null",
});
export const toolInput = type({
  tool_name: "0 < string <= 255",
  "tool_input?": "object",
  "allowed_tools?": "string[] | null",
});
export const retrievalInput = type({
  query: "string > 0",
  "collection?": "string",
  "top_k?": "1 <= number.integer <= 1000",
  "backend?": "'local' | 'httpx' | 'http'",
  "documents?": type({ content: "string", "[string]": "unknown" }).array(),
});
export const sandboxInput = type({
  code: "string > 0",
  "language?": "'python' | 'bash' | 'node'",
  "timeout_seconds?": "0 < number <= 3600",
  "env?": "Record<string, string>",
  "files?": "Record<string, string>",
});
export const approvalInput = type({
  "message?": "string",
  "approval_message?": "string",
});

const shapes = {
  llm: llmInput,
  tool: toolInput,
  retrieval: retrievalInput,
  sandbox: sandboxInput,
  approval: approvalInput,
};

/** What is wrong with a step's input, or null when its handler can take it. */
export function stepInputProblem(stepType: StepType, input: JsonObject): Failure | null {
  const read = shapes[stepType](input);
  return read instanceof type.errors
    ? terminal("invalid_input", `${stepType} step input: ${read.summary}`)
    : null;
}
