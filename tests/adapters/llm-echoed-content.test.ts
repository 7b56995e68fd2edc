import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { chatCompletion } from "../support/chat-completion.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";
import {
  answerStream,
  chatStream,
  messageStream,
  responseStream,
} from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const spoken = { text: ["Hello"], usage: { input: 10, output: 5 } };
const streams = { openai: chatStream, anthropic: messageStream, responses: responseStream };
type Provider = keyof typeof streams;

const saying = (request: ModelRequest, content: string): ModelRequest => ({
  ...request,
  messages: [{ role: "user", content }],
});
const good = (provider: Provider): ModelRequest =>
  // Only a model that reasons is sent `include`.
  provider === "responses"
    ? plain("responses/o3")
    : {
        ...plain(`${provider}/some-model`),
        temperature: 0.5,
        params: provider === "openai" ? { seed: 7, stop: ["END"] } : {},
      };
const refusal = (message: string) => ({
  type: "error",
  error: { type: "invalid_request_error", message, param: null },
});

/** A vendor that refuses the steps that say `bad`, in these words, and takes all others. */
async function picky(provider: Provider, bad: string, message: string) {
  const made = await vendor((response) => {
    const { messages, input } = made.seen.at(-1)?.body ?? {};
    if (JSON.stringify(messages ?? input).includes(JSON.stringify(bad).slice(1, -1))) {
      answerJson(refusal(message), 400)(response);
    } else answerStream(streams[provider](spoken))(response);
  });
  return made;
}

describe("a 400 that quotes one step's content [llm.rejected-parameter]", () => {
  test.each<[Provider, string, string]>([
    [
      "openai",
      "https://a.example/max_tokens",
      "Image at https://a.example/max_tokens is not supported",
    ],
    [
      "anthropic",
      "https://a.example/max_tokens",
      "Image at https://a.example/max_tokens is not supported",
    ],
    ["anthropic", "no", "max_tokens: 50000 is not supported without streaming"],
    ["openai", "no", "max_tokens: 50000 is not supported"],
    ["openai", "see evil", "Could not load https://evil.example/temperature: not supported"],
    ["openai", "the max_tokens of it", "Unsupported text: the max_tokens of it"],
    ["responses", "gif89", "Unsupported image. Supported formats include png and jpeg."],
    ["openai", "temperature", "Unsupported content: temperature"],
  ])("changes nothing: %s, %s, %s", async (provider, bad, message) => {
    const { models, seen } = await picky(provider, bad, message);
    await models.complete(good(provider), never);
    const outcome = await models.complete(saying(good(provider), bad), never);
    expect(outcome).toMatchObject({ ok: false, failure: { retryable: false } });
    // Nothing is tried without what the vendor has not complained of.
    expect(seen).toHaveLength(2);
    const after = await models.complete(good(provider), never);
    expect(after).toMatchObject({ ok: true });
    expect(after).not.toHaveProperty("value.droppedParams");
    expect(seen.at(-1)?.body).toEqual(seen[0]?.body);
  });

  test("leaves the next step's request as it was, whatever it quotes and however", async () => {
    const names = [
      "max_tokens",
      "temperature",
      "seed",
      "stop",
      "include",
      "stream_options",
      "max_completion_tokens",
    ];
    const piece = fc.oneof(
      fc.constantFrom(
        ...names,
        "'temperature'",
        '"seed"',
        "`stop`",
        "parameter",
        "not supported",
        ":",
      ),
      fc.string({ maxLength: 8 }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom<Provider>("openai", "anthropic", "responses"),
        fc.array(piece, { minLength: 1, maxLength: 5 }),
        fc.constantFrom(
          (text: string) => `${text} is not supported`,
          (text: string) => `Unsupported content: ${text}`,
          (text: string) => `unknown parameter '${text}'`,
        ),
        async (provider, pieces, words) => {
          const bad = `bad ${pieces.join(" ")}`;
          const { models, seen, server } = await picky(provider, bad, words(bad));
          await models.complete(good(provider), never);
          const outcome = await models.complete(saying(good(provider), bad), never);
          expect(outcome).toMatchObject({ ok: false });
          expect(await models.complete(good(provider), never)).toMatchObject({ ok: true });
          expect(seen.at(-1)?.body).toEqual(seen[0]?.body);
          server.close();
        },
      ),
      { numRuns: 60 },
    );
  });

  test("does not hide a refusal in the vendor's own words", async () => {
    const { models, seen } = await vendor((response) => {
      if (seen.at(-1)?.body["temperature"] === undefined) {
        answerStream(messageStream(spoken))(response);
      } else answerJson(refusal("`temperature` is deprecated for this model."), 400)(response);
    });
    const asked = saying(good("anthropic"), "What is the temperature in Rome?");
    expect(await models.complete(asked, never)).toMatchObject({
      ok: true,
      value: { droppedParams: ["temperature"] },
    });
    await models.complete(asked, never);
    expect(seen).toHaveLength(3);
  });

  test("and of which the repeat fails too is not remembered", async () => {
    let isWell = false;
    const { models, seen } = await vendor((response) => {
      if (isWell) answerStream(chatStream(spoken))(response);
      else answerJson(refusal("Unknown parameter: 'temperature'"), 400)(response);
    });
    expect(await models.complete(good("openai"), never)).toMatchObject({ ok: false });
    isWell = true;
    expect(await models.complete(good("openai"), never)).not.toHaveProperty("value.droppedParams");
    expect(seen.map(({ body }) => body["temperature"])).toEqual([0.5, undefined, 0.5]);
  });
});

test("a body has a key of its own, the same whenever it is sent, so that a vendor that keeps to keys repeats no refusal [llm.rejected-parameter]", async () => {
  const kept = new Map<string, [number, object]>();
  let isDown = true;
  const { models, seen } = await vendor((response) => {
    const { headers, body } = seen.at(-1) as (typeof seen)[number];
    const key = String(headers["idempotency-key"]);
    const told = kept.get(key);
    const say = (status: number, said: object) => {
      kept.set(key, [status, said]);
      answerJson(said, status)(response);
    };
    if (told !== undefined) answerJson(told[1], told[0])(response);
    else if (body["temperature"] !== undefined) {
      say(400, refusal("Unsupported parameter: 'temperature' is not supported with this model."));
    } else if (isDown) {
      isDown = false;
      answerJson({}, 503)(response);
    } else say(200, chatCompletion({ content: "hi" }, "stop"));
  });
  expect(await models.complete(good("openai"), never)).toMatchObject({
    failure: { retryable: true },
  });
  expect(await models.complete(good("openai"), never)).toMatchObject({ ok: true });
  // Another model of the same provider, as in a chain.
  const other = { ...good("openai"), model: "openai/other" };
  await models.complete(other, never);
  const bodies = new Map<string, Set<string>>();
  for (const { headers, body } of seen) {
    const key = String(headers["idempotency-key"]);
    bodies.set(key, (bodies.get(key) ?? new Set()).add(JSON.stringify(body)));
  }
  expect([...bodies.values()].every((each) => each.size === 1)).toBe(true);
  expect(bodies.size).toBe(4);
});
