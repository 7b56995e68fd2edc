import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";

export const lookUp = {
  name: "files.look-up",
  description: "Looks a word up",
  inputSchema: { type: "object", properties: { word: { type: "string" } }, required: ["word"] },
};

/** A system prompt, a turn with two tool calls, and the result of each. */
export const conversation: ModelRequest = {
  model: "gpt-4o",
  messages: [
    { role: "system", content: "Be brief." },
    { role: "user", content: "What is a lease?" },
    {
      role: "assistant",
      content: "",
      toolCalls: [
        { id: "call_1", name: "files.look-up", arguments: { word: "lease" } },
        { id: "call_2", name: "files.look-up", arguments: { word: "fence" } },
      ],
    },
    { role: "tool", toolCallId: "call_1", content: "a right" },
    { role: "tool", toolCallId: "call_2", content: "no such word", isError: true },
  ],
  maxTokens: 500,
  temperature: 0.2,
  tools: [lookUp],
  idempotencyKey: "run_1:step_1:model:0",
};

export const plain = (model: string): ModelRequest => ({
  model,
  messages: [{ role: "user", content: "Say hello" }],
  maxTokens: 10,
  idempotencyKey: "key-1",
});
