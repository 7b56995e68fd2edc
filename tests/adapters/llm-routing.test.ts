import { describe, expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { answerJson } from "../support/answer-json.ts";
import { anthropicMessage } from "../support/anthropic-message.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

describe("the way to a provider", () => {
  const reply = chatCompletion({ content: "hi" }, "stop");

  test.each([
    ["gpt-4.1-mini", "gpt-4.1-mini"],
    ["o3-mini", "o3-mini"],
    ["chatgpt-4o-latest", "chatgpt-4o-latest"],
    ["openai/llama3.2", "llama3.2"],
    ["openai/org/model", "org/model"],
  ])("leads %s to OpenAI as %s", async (model, sent) => {
    const { models, seen } = await vendor(answerJson(reply));
    expect(await models.complete(plain(model), never)).toMatchObject({ ok: true });
    expect(seen[0]).toMatchObject({ path: "/v1/chat/completions", body: { model: sent } });
  });

  test("leads anthropic/… to Anthropic", async () => {
    const answer = anthropicMessage([{ type: "text", text: "hi" }], "end_turn");
    const { models, seen } = await vendor(answerJson(answer));
    await models.complete(plain("anthropic/claude-opus-4-5"), never);
    expect(seen[0]).toMatchObject({ path: "/v1/messages", body: { model: "claude-opus-4-5" } });
  });

  test.each(["gemini-pro", "", "open ai", "mistral/large", "scripted/"])(
    "does not exist for %j, and the failure says what would",
    async (model) => {
      const outcome = await createModels({ timeoutMs: 1000 }).complete(plain(model), never);
      expect(outcome).toMatchObject({ failure: { kind: "invalid_input", retryable: false } });
      expect(outcome.ok ? "" : outcome.failure.message).toContain("claude…");
    },
  );

  test.each([
    ["gpt-4o", "OPENAI_API_KEY"],
    ["claude-opus-4-5", "ANTHROPIC_API_KEY"],
  ])("needs a key for %s and names %s", async (model, variable) => {
    const outcome = await createModels({ timeoutMs: 1000 }).complete(plain(model), never);
    expect(outcome).toMatchObject({ failure: { kind: "unauthorized", retryable: false } });
    expect(outcome.ok ? "" : outcome.failure.message).toContain(variable);
  });
});
