import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { lookUp, plain } from "../support/model-requests.ts";
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

/** How vendors say that they do not take a field. */
const sayings = {
  openai: (field: string) => ({
    error: {
      message: `Unsupported parameter: '${field}' is not supported with this model.`,
      type: "invalid_request_error",
      param: field,
      code: "unsupported_parameter",
    },
  }),
  "openai, in words": (field: string) => ({
    error: { message: `Unrecognized request argument supplied: ${field}`, param: null, code: null },
  }),
  anthropic: (field: string) => ({
    type: "error",
    error: {
      type: "invalid_request_error",
      message: `${field}: Extra inputs are not permitted`,
    },
  }),
  "anthropic, of a newer model": (field: string) => ({
    type: "error",
    error: {
      type: "invalid_request_error",
      message: `\`${field}\` is deprecated for this model.`,
    },
  }),
  mistral: (field: string) => ({
    detail: [
      { type: "extra_forbidden", loc: ["body", field], msg: "Extra inputs are not permitted" },
    ],
  }),
  gemini: (field: string) => [
    { error: { code: 400, message: `Invalid JSON payload. Unknown name "${field}": no field.` } },
  ],
} as const;

const given: JsonObject = {
  top_p: 0.9,
  stop: ["END"],
  seed: 7,
  presence_penalty: 0.1,
  parallel_tool_calls: false,
};
const asked = (model: string): ModelRequest => ({
  ...plain(model),
  temperature: 0.5,
  tools: [lookUp],
  params: given,
});

const has = (body: JsonObject, path: string): boolean => {
  const [first = "", second] = path.split(".");
  const value = body[first] as JsonObject | undefined;
  return second === undefined ? value !== undefined : value?.[second] !== undefined;
};

/** A vendor that takes no request with one of these fields. */
async function refusing(fields: readonly string[], saying: keyof typeof sayings, events: string) {
  const made = await vendor((response) => {
    const body = made.seen.at(-1)?.body as JsonObject;
    const first = fields.find((field) => has(body, field));
    if (first === undefined) answerStream(events)(response);
    else answerJson(sayings[saying](first), saying === "mistral" ? 422 : 400)(response);
  });
  return made;
}

describe("a parameter that a model refuses [llm.rejected-parameter]", () => {
  test("is left out, said, and not sent to that model again, however the refusal is worded", async () => {
    const chat = ["temperature", "top_p", "stop", "seed", "presence_penalty"];
    await fc.assert(
      fc.asyncProperty(
        fc.subarray([...chat, "parallel_tool_calls", "stream_options"], { maxLength: 4 }),
        fc.constantFrom(...(Object.keys(sayings) as (keyof typeof sayings)[])),
        async (fields, saying) => {
          const { models, seen } = await refusing(fields, saying, chatStream(spoken));
          const first = await models.complete(asked("openai/some-model"), never);
          const names = fields.filter((field) => field !== "stream_options").sort();
          expect(first).toMatchObject({ ok: true, value: { content: "Hello" } });
          expect(first.ok && (first.value.droppedParams ?? [])).toEqual(names);
          expect(seen).toHaveLength(fields.length + 1);
          const keys = seen.map(({ headers }) => headers["idempotency-key"]);
          expect(new Set(keys).size).toBe(seen.length);
          const again = await models.complete(asked("openai/some-model"), never);
          expect(again.ok && (again.value.droppedParams ?? [])).toEqual(names);
          expect(seen).toHaveLength(fields.length + 2);
          for (const field of chat) {
            expect(has(seen.at(-1)?.body as JsonObject, field)).toBe(!fields.includes(field));
          }
          expect(seen.at(-1)?.body["tools"]).toHaveLength(1);
        },
      ),
      { numRuns: 40 },
    );
  });

  test.each([
    [
      "anthropic",
      "claude-next",
      "anthropic",
      ["temperature"],
      ["temperature", "top_p"],
      messageStream,
    ],
    [
      "responses",
      "gpt-next",
      "openai",
      ["top_p", "temperature"],
      ["temperature", "top_p"],
      responseStream,
    ],
    [
      "responses",
      "gpt-next",
      "openai",
      ["parallel_tool_calls"],
      ["parallel_tool_calls"],
      responseStream,
    ],
    [
      "anthropic",
      "claude-next",
      "anthropic, of a newer model",
      ["stop_sequences"],
      ["stop"],
      messageStream,
    ],
  ] as const)(
    "of %s' %s, as %s says it: %j",
    async (provider, model, saying, fields, names, stream) => {
      const { models, seen } = await refusing(fields, saying, stream(spoken));
      const outcome = await models.complete(asked(`${provider}/${model}`), never);
      expect(outcome).toMatchObject({ ok: true });
      expect(outcome.ok && outcome.value.droppedParams).toEqual(expect.arrayContaining([...names]));
      expect(seen).toHaveLength(fields.length + 1);
    },
  );

  test("may be a part of one, or the form of the answer, which is asked for in words too", async () => {
    const request = {
      ...plain("responses/gpt-5"),
      params: { verbosity: "low" },
      responseSchema: { type: "object" },
    };
    const { models, seen } = await refusing(["text.format"], "openai", responseStream(spoken));
    const outcome = await models.complete(request, never);
    expect(outcome).toMatchObject({ ok: true, value: { droppedParams: ["response_format"] } });
    expect(seen.map(({ body }) => body["text"])).toMatchObject([
      { verbosity: "low", format: {} },
      { verbosity: "low" },
    ]);
  });

  test("in one value is sent with another", async () => {
    const { models, seen } = await vendor((response) => {
      if (seen.at(-1)?.body["temperature"] === 1) answerStream(chatStream(spoken))(response);
      else if (!has(seen.at(-1)?.body as JsonObject, "temperature")) {
        answerStream(chatStream(spoken))(response);
      } else {
        const message =
          "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.";
        answerJson(
          { error: { message, param: "temperature", code: "unsupported_value" } },
          400,
        )(response);
      }
    });
    const at = (temperature: number) =>
      models.complete({ ...plain("openai/m"), temperature }, never);
    expect(await at(0.5)).toMatchObject({ ok: true, value: { droppedParams: ["temperature"] } });
    expect(await at(1)).not.toHaveProperty("value.droppedParams");
    expect(seen.map(({ body }) => body["temperature"])).toEqual([0.5, undefined, 1]);
  });

  test("is sent under its other name where it is the limit", async () => {
    const { models, seen } = await refusing(["max_tokens"], "openai", chatStream(spoken));
    const outcome = await models.complete(plain("openai/m"), never);
    expect(outcome).not.toHaveProperty("value.droppedParams");
    expect(seen.map(({ body }) => [body["max_tokens"], body["max_completion_tokens"]])).toEqual([
      [10, undefined],
      [undefined, 10],
    ]);
    const none = await refusing(
      ["max_tokens", "max_completion_tokens"],
      "openai",
      chatStream(spoken),
    );
    expect(await none.models.complete(plain("openai/m"), never)).toMatchObject({ ok: false });
    expect(none.seen.length).toBeLessThan(6);
  });

  test.each([
    ["messages", sayings.openai("messages"), 400],
    ["tools", sayings.openai("tools"), 400],
    ["tools' part", sayings.openai("tools[0].function.strict"), 400],
    ["model", sayings["openai, in words"]("model"), 400],
    ["what was not sent", sayings.openai("logprobs"), 400],
    ["a wrong message", { error: { message: "temperature is too hot today" } }, 400],
    ["a rate", sayings.openai("temperature"), 429],
    ["a key", sayings.openai("temperature"), 401],
  ])("is never guessed, nor is anything else left out: %s", async (_, body, status) => {
    const { models, seen } = await vendor(answerJson(body, status));
    expect(await models.complete(asked("openai/m"), never)).toMatchObject({ ok: false });
    expect(seen).toHaveLength(1);
  });
});
