import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateInput } from "../../actors/step/token-estimate.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  llmInput,
  readMessages,
  stepInputProblem,
} from "../../machines/contracts/domain/step-input.ts";
import type { ModelMessage } from "../../machines/contracts/ports/model-provider.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream, streams } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const spoken = { text: ["A cat."], usage: { input: 10, output: 5 } };
const png = `data:image/png;base64,${Buffer.from("a picture").toString("base64")}`;
const address = "https://example.org/cat.jpg?size=1&of=2";

const messagesOf = (content: unknown): ModelMessage[] =>
  readMessages(llmInput().assert({ messages: [{ role: "user", content }] }).messages) ?? [];

/** A part as OpenAI's API has it, and what each vendor is to get for it. */
const part = fc.oneof(
  fc.stringMatching(/^[a-z äあ]{0,10}[a-z]$/u).map((text) => ({
    given: { type: "text", text },
    anthropic: { type: "text", text },
    openai: { type: "text", text },
    responses: { type: "input_text", text },
  })),
  fc.constantFrom("auto", "low", "high", undefined, null).map((detail) => {
    const kept = typeof detail === "string" ? { detail } : {};
    return {
      given: {
        type: "image_url",
        image_url: { url: png, ...(detail === undefined ? {} : { detail }) },
      },
      anthropic: {
        type: "image",
        source: { type: "base64", media_type: "image/png", data: png.slice(png.indexOf(",") + 1) },
      },
      openai: { type: "image_url", image_url: { url: png, ...kept } },
      responses: { type: "input_image", image_url: png, detail: detail ?? "auto" },
    };
  }),
  fc.constant({
    given: { type: "image_url", image_url: address },
    anthropic: { type: "image", source: { type: "url", url: address } },
    openai: { type: "image_url", image_url: { url: address } },
    responses: { type: "input_image", image_url: address, detail: "auto" },
  }),
);

describe.each(streams)("the parts of a message to $provider", ({ provider, model, stream }) => {
  test("reach it in its own form and their order [llm.content-parts]", async () => {
    const { models, seen } = await vendor(answerStream(stream(spoken)));
    await fc.assert(
      fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 5 }), async (parts) => {
        const messages = messagesOf(parts.map(({ given }) => given));
        const outcome = await models.complete(
          { ...plain(`${provider}/${model}`), messages },
          never,
        );
        expect(outcome).toMatchObject({ ok: true, value: { content: "A cat." } });
        const body = seen.at(-1)?.body ?? {};
        const [sent] = (body["messages"] ?? body["input"]) as JsonObject[];
        const isText = parts.every(({ given }) => given.type === "text");
        const text = parts.map(({ given }) => ("text" in given ? given.text : "")).join("");
        const whole = provider === "anthropic" ? [{ type: "text", text }] : text;
        expect(sent).toEqual({
          role: "user",
          content: isText ? whole : parts.map((each) => each[provider]),
        });
      }),
      { numRuns: 25 },
    );
  });

  test("count as images, and not as the text of their bytes [llm.content-parts]", async () => {
    const large = `data:image/png;base64,${"A".repeat(400_000)}`;
    const messages = messagesOf([
      { type: "text", text: "What is it?" },
      { type: "image_url", image_url: { url: large } },
    ]);
    const tokens = estimateInput({ messages });
    expect(tokens).toBeGreaterThan(1_000);
    expect(tokens).toBeLessThan(10_000);
    // Where the vendor has not counted.
    const events = stream(spoken);
    const { models } = await vendor(
      answerStream(events, { until: { part: 0.7, after: "disconnect" } }),
    );
    const outcome = await models.complete({ ...plain(`${provider}/${model}`), messages }, never);
    const { usage } = (outcome.ok ? {} : outcome.failure.details) as { usage?: JsonObject };
    expect(usage?.["inputTokens"] ?? 0).toBeLessThan(10_000);
  });
});

test("Anthropic is not asked about an image that it has no form for [llm.content-parts]", async () => {
  const messages = messagesOf([
    { type: "image_url", image_url: { url: "data:image/svg+xml;base64,AAAA" } },
  ]);
  const { models, seen } = await vendor(answerStream(streams[0].stream(spoken)));
  const outcome = await models.complete({ ...plain("claude-opus-4-5"), messages }, never);
  expect(outcome).toMatchObject({
    failure: {
      kind: "invalid_input",
      retryable: false,
      message:
        "anthropic takes no image of type image/svg+xml; expected one of image/jpeg, image/png, image/gif, image/webp",
    },
  });
  expect(seen).toHaveLength(0);
});

test.each([
  ["a sound", "user", { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }],
  ["a file", "user", { type: "file", file: { file_id: "f" } }],
  ["an image without an address", "user", { type: "image_url" }],
  ["an image of no protocol", "user", { type: "image_url", image_url: { url: "cat.jpg" } }],
  ["an image at a plain address", "user", { type: "image_url", image_url: { url: "http://a/b" } }],
  ["an image in a file", "user", { type: "image_url", image_url: { url: "file:///etc/passwd" } }],
  [
    "data that is no image",
    "user",
    { type: "image_url", image_url: { url: "data:text/html;base64,AA" } },
  ],
  [
    "an image that is not base64",
    "user",
    { type: "image_url", image_url: { url: "data:image/png,AA" } },
  ],
  ["an image in a system prompt", "system", { type: "image_url", image_url: { url: png } }],
  ["an image in an answer", "assistant", { type: "image_url", image_url: { url: png } }],
])("%s is refused by its place before anything is paid for [llm.content-parts]", (_, role, odd) => {
  const messages = [{ role, content: [{ type: "text", text: "a" }, odd] }];
  expect(stepInputProblem("llm", { messages })).toMatchObject({
    kind: "invalid_input",
    message: expect.stringContaining("messages[0]"),
  });
});
