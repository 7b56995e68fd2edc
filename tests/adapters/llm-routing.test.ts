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

  test.each(["", "open ai", "constructor", "openai/", "a b/c", "/x"])(
    "does not exist for %j, and the failure says what would",
    async (model) => {
      const outcome = await createModels({ providers: [] }).complete(plain(model), never);
      expect(outcome).toMatchObject({
        failure: {
          kind: "invalid_input",
          retryable: false,
          details: { reason: "unknown_model" },
        },
      });
      expect(outcome.ok ? "" : outcome.failure.message).toContain("claude");
    },
  );

  test.each([
    ["gpt-4o", "OPENAI_API_KEY"],
    ["openai/gpt-4o", "OPENAI_API_KEY"],
    ["claude-opus-4-5", "ANTHROPIC_API_KEY"],
  ])("needs a key for %s and names %s", async (model, variable) => {
    const outcome = await createModels({ providers: [] }).complete(plain(model), never);
    expect(outcome).toMatchObject({
      failure: { kind: "unauthorized", retryable: false, details: { reason: "auth" } },
    });
    expect(outcome.ok ? "" : outcome.failure.message).toContain(variable);
  });

  test.each([
    ["gemini/gemini-2.5-pro", "gemini", "GEMINI_API_KEY"],
    ["gemini-2.5-pro", "gemini", "GEMINI_API_KEY"],
    ["groq/llama-3.3-70b-versatile", "groq", "GROQ_API_KEY"],
    ["mistral/mistral-large-latest", "mistral", "MISTRAL_API_KEY"],
    ["azure/my-deployment", "azure", "AZURE_API_KEY"],
    ["ollama/llama3.2", "ollama", "http://localhost:11434/v1"],
    ["bedrock/anthropic.claude-3", "bedrock", "LiteLLM proxy"],
    ["constructor/x", "constructor", "CONSTRUCTOR_API_KEY"],
  ])(
    "in litellm's spelling (%s) is said as configuration where there is none [llm.names]",
    async (model, provider, needed) => {
      const outcome = await createModels({ providers: [] }).complete(plain(model), never);
      expect(outcome).toMatchObject({ failure: { kind: "invalid_input", retryable: false } });
      const message = outcome.ok ? "" : outcome.failure.message;
      expect(message).toContain(needed);
      const [configuration = ""] = /\{.*\}\}/u.exec(message) ?? [];
      expect(JSON.parse(configuration)).toMatchObject({
        [provider]: { kind: "openai-compatible" },
      });
    },
  );

  test("leads any name before a slash to the provider of that name [llm.names]", async () => {
    const { url, seen } = await vendor(answerJson(reply));
    const models = createModels({
      providers: [
        {
          name: "groq",
          kind: "openai-compatible",
          apiKey: null,
          keyVariable: "",
          baseUrl: `${url}/groq`,
          totalMs: 2000,
          idleMs: 2000,
        },
      ],
    });
    const outcome = await models.complete(plain("groq/openai/gpt-oss-20b"), never);
    expect(outcome).toMatchObject({ value: { provider: "groq" } });
    expect(seen[0]).toMatchObject({
      path: "/groq/chat/completions",
      body: { model: "openai/gpt-oss-20b" },
    });
    expect(models.targets?.("groq/openai/gpt-oss-20b")).toEqual({
      ok: true,
      value: [{ provider: "groq", model: "openai/gpt-oss-20b" }],
    });
  });
});
