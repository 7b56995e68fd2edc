import { setTimeout as wait } from "node:timers/promises";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { quote } from "../../adapters/llm/vendor-trouble.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";

/*
 * What servers that speak OpenAI's API really do with it: other words for the end of an answer, calls without ids,
 * counts that leave something out, fields that are there and empty.
 */

const never = new AbortController().signal;
const { vendor } = useVendors();

const base = { id: "c", object: "chat.completion.chunk", model: "m" };
const chunk = (delta: object, finish: string | null = null, more: object = {}) => ({
  ...base,
  choices: [{ index: 0, delta, finish_reason: finish }],
  ...more,
});
const stream = (chunks: readonly object[], end = "data: [DONE]\n\n") =>
  chunks.map((data) => `data: ${JSON.stringify(data)}\n\n`).join("") + end;

/** What comes of a stream of these chunks. */
async function outcomeOf(chunks: readonly object[], end?: string) {
  const { models } = await vendor((response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).end(stream(chunks, end));
  });
  return models.complete({ ...plain("openai/m"), tools: [lookUp] }, never);
}

/** The reply to a stream of these chunks. */
async function replyTo(chunks: readonly object[]): Promise<ModelReply> {
  const outcome = await outcomeOf(chunks);
  if (!outcome.ok) throw new Error(outcome.failure.message);
  return outcome.value;
}

const call = (args: unknown, more: object = {}) => ({
  tool_calls: [{ function: { name: lookUp.name, arguments: args }, ...more }],
});
const usage = (counts: object) => ({ ...base, choices: [], usage: counts });

describe("an answer", () => {
  it.each(["length", "model_length", "max_tokens", "MAX_TOKENS", "insufficient_system_resource"])(
    "that ended as %s was cut off, and no call in it runs [llm.endings]",
    async (reason) => {
      const { finishReason, toolCalls } = await replyTo([
        chunk(call('{"word":"a"}', { index: 0, id: "1" })),
        chunk({}, reason),
      ]);
      expect(finishReason).toBe("length");
      expect(toolCalls).toMatchObject([{ arguments: null, cutOff: true }]);
    },
  );

  it("ended well only by a word that is known to say so, with calls or without [llm.endings]", async () => {
    const good =
      /^(?:stop|stop_sequence|end_turn|eos|eos_token|tool_calls|tool_use|function_call)$/i;
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.constantFrom("abort", "STOP", "eos", "recitation"),
          fc.string({ minLength: 1 }),
        ),
        fc.boolean(),
        async (reason, withCall) => {
          const said = withCall ? call("{}", { index: 0, id: "1" }) : { content: "hi" };
          if (reason === "error") return;
          const { finishReason } = await replyTo([chunk(said), chunk({}, reason)]);
          const isGood = finishReason === "stop" || finishReason === "tool_calls";
          expect(isGood).toBe(good.test(reason));
        },
      ),
      { numRuns: 40 },
    );
  });

  it("keeps calls apart that have neither ids nor places, with texts or objects for arguments [llm.calls-apart]", async () => {
    const args = fc.array(fc.constantFrom<unknown>('{"word":"a"}', { word: "b" }, "{}", {}), {
      minLength: 1,
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(args, fc.boolean(), async (given, isTogether) => {
        const calls = given.map((one) => call(one));
        const together = { tool_calls: calls.flatMap((one) => one.tool_calls) };
        const chunks = isTogether ? [chunk(together)] : calls.map((one) => chunk(one));
        const { toolCalls } = await replyTo([...chunks, chunk({}, "tool_calls")]);
        const read = given.map((one) => (typeof one === "string" ? JSON.parse(one) : one));
        expect(toolCalls.map((one) => one.arguments)).toEqual(read);
        expect(new Set(toolCalls.map(({ id }) => id)).size).toBe(given.length);
      }),
      { numRuns: 40 },
    );
  });

  it("whose arguments came as an object with a number that was rounded goes to no tool [llm.calls-apart]", async () => {
    const rounded = { word: "a", id: 9007199254740993n };
    const text = JSON.stringify(chunk(call("?", { index: 0, id: "1" })));
    const given = `{"word":"a","id":${rounded.id}}`;
    const { models } = await vendor((response) => {
      const body = `data: ${text.replace('"?"', given)}\n\n${stream([chunk({}, "tool_calls")])}`;
      response.writeHead(200, { "content-type": "text/event-stream" }).end(body);
    });
    const outcome = await models.complete({ ...plain("openai/m"), tools: [lookUp] }, never);
    expect(outcome).toMatchObject({ ok: true, value: { toolCalls: [{ arguments: null }] } });
  });

  it("is billed for reasoning that the server counts apart from the completion [llm.counts]", async () => {
    const end = [chunk({ content: "hi" }), chunk({}, "stop")];
    const apart = { prompt_tokens: 10, completion_tokens: 5 };
    const [byTotal, byDetails, inside] = await Promise.all([
      replyTo([...end, usage({ ...apart, total_tokens: 115 })]),
      replyTo([...end, usage({ ...apart, completion_tokens_details: { reasoning_tokens: 100 } })]),
      replyTo([
        ...end,
        usage({
          prompt_tokens: 10,
          completion_tokens: 105,
          total_tokens: 115,
          completion_tokens_details: { reasoning_tokens: 100 },
        }),
      ]),
    ]);
    for (const { usage: used } of [byTotal, byDetails, inside]) {
      expect(used).toMatchObject({ inputTokens: 10, outputTokens: 105 });
    }
  });

  it("is counted by us where the server says that it took nothing [llm.counts]", async () => {
    const none = usage({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });
    const { usage: used } = await replyTo([
      chunk({ content: "hi there" }),
      chunk({}, "stop"),
      none,
    ]);
    expect(used.estimated).toBe(true);
    expect(used.inputTokens).toBeGreaterThan(0);
    expect(used.outputTokens).toBeGreaterThan(0);
  });

  it.each([null, "", false, 0])(
    "with `error: %j` in it is an answer [llm.empty-error]",
    async (error) => {
      const { content } = await replyTo([
        chunk({ content: "hi" }, null, { error }),
        chunk({}, "stop", { error }),
      ]);
      expect(content).toBe("hi");
    },
  );

  it("of a stream is whole by its finish_reason or the protocol's own end, whatever its chunks call themselves and hold [llm.endings]", async () => {
    const words = fc.array(fc.stringMatching(/^[a-z]{1,6} $/u), { minLength: 1, maxLength: 6 });
    const form = fc.record({
      object: fc.constantFrom("chat.completion", "chat.completion.chunk", undefined),
      hasMessage: fc.boolean(),
      hasDelta: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        words,
        form,
        fc.boolean(),
        fc.boolean(),
        async (said, how, isEnded, isDone) => {
          let far = "";
          const chunks = said.map((content, at) => {
            far += content;
            const isLast = isEnded && at === said.length - 1;
            const choice = {
              index: 0,
              finish_reason: isLast ? "stop" : null,
              ...(how.hasMessage || !how.hasDelta ? { message: { content: far } } : {}),
              ...(how.hasDelta ? { delta: { content } } : {}),
            };
            return { ...base, object: how.object, choices: [choice] };
          });
          const outcome = await outcomeOf(chunks, isDone ? undefined : "");
          // A reason that was lost on the way is not made up.
          const finishReason = isEnded ? "stop" : "other";
          if (isEnded || isDone)
            expect(outcome).toMatchObject({ ok: true, value: { content: far, finishReason } });
          else expect(outcome).toMatchObject({ failure: { details: { reason: "network" } } });
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is the first choice alone, whatever comes of others [llm.endings]", async () => {
    const other = (content: string, finish_reason: string | null, more: object = {}) => ({
      ...base,
      choices: [{ index: 1, delta: { content }, finish_reason, ...more }],
    });
    const { content, finishReason } = await replyTo([
      other("theirs", null),
      chunk({ content: "mine" }, "length"),
      other("theirs", "stop"),
      other("", null, { error: { message: "broken" } }),
    ]);
    expect([content, finishReason]).toEqual(["mine", "length"]);
  });

  it("that is whole is not taken away by an error after it [llm.tail]", async () => {
    const error = { code: 502, message: "late" };
    const late = { ...base, choices: [{ index: 0, delta: {}, error, finish_reason: "error" }] };
    for (const after of [late, { ...base, error }]) {
      const { content } = await replyTo([chunk({ content: "all" }, "stop"), after]);
      expect(content).toBe("all");
    }
  });

  it.each([
    [
      "openai",
      {
        choices: [{ finish_reason: "stop" }],
        usage: { prompt_tokens: 9, completion_tokens: 5_000 },
      },
    ],
    ["anthropic", { type: "message", usage: { input_tokens: 9, output_tokens: 5_000 } }],
    ["responses", { status: "completed", usage: { input_tokens: 9, output_tokens: 5_000 } }],
  ])(
    "of %s that is whole and of no use is billed as counted [llm.used]",
    async (provider, body) => {
      const { models } = await vendor((response) => response.end(JSON.stringify(body)));
      expect(await models.complete(plain(`${provider}/m`), never)).toMatchObject({
        ok: false,
        failure: {
          details: { reason: "bad_answer", usage: { inputTokens: 9, outputTokens: 5_000 } },
        },
      });
    },
  );

  it("is taken once it is whole, though only signs of life follow it [llm.tail]", async () => {
    const { url } = await vendor(async (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(stream([chunk({ content: "hi" }), chunk({}, "stop")], ""));
      while (!response.destroyed) {
        response.write(": alive\n\n");
        await wait(100);
      }
    });
    const models = createModels({ providers: vendorProviders(url, { totalMs: 60_000 }) });
    const begun = performance.now();
    expect(await models.complete(plain("openai/m"), never)).toMatchObject({
      ok: true,
      value: { content: "hi" },
    });
    // Its tail is five seconds, its total a minute.
    expect(performance.now() - begun).toBeLessThan(30_000);
  });

  it("that is cut off is put down as no less than a token for each character beyond ASCII [llm.counts]", async () => {
    const content = "租约由心跳续期".repeat(40);
    const { models } = await vendor((response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(stream([chunk({ content })], ""));
      setTimeout(() => response.destroy(), 50);
    });
    const outcome = await models.complete(plain("openai/m"), never);
    const used = outcome.ok
      ? null
      : (outcome.failure.details?.["usage"] as { outputTokens: number });
    expect(used?.outputTokens).toBeGreaterThanOrEqual(content.length);
  });
});

describe("a vendor's words", () => {
  const key = "sk-proj-Abcdefghijklmnop1234567890qrstuvWXYZ";

  it("hold no part of the key, whatever is the matter [llm.key-parts]", () => {
    fc.assert(
      fc.property(
        fc.nat(key.length - 8),
        fc.integer({ min: 8, max: key.length }),
        fc.string({ maxLength: 20 }),
        fc.boolean(),
        (from, length, around, isAboutKey) => {
          const part = key.slice(from, from + length);
          const said = quote({ apiKey: key }, `${around} (${part}) ${around}`, isAboutKey);
          expect(said).not.toContain(part);
        },
      ),
    );
    const masked = ["sk-p***WXYZ", "sk-proj-...WXYZ", "*****************WXYZ"];
    for (const part of masked) {
      expect(quote({ apiKey: key }, `bad request for ${part}: no such field`)).not.toContain(
        "WXYZ",
      );
    }
  });

  it("are left as they are where they only look like it", () => {
    const words = "unsupported value: 'max_tokens' for task-runner; see the docs...";
    expect(quote({ apiKey: key }, words)).toBe(words);
  });
});
