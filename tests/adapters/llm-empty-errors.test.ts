import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { saysError } from "../../adapters/llm/empty-errors.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { answerJson } from "../support/answer-json.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream, streams } from "../support/vendor-streams.ts";
import { wholes } from "../support/vendor-wholes.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
// The line separator is a character like any other in JSON, and ends lines for some.
const text = 'An "error" is\u2028a word, {"error":{}} too. ';
const spoken = {
  text: [text],
  calls: [{ id: "call_1", name: lookUp.name.replace(".", "_"), pieces: ['{"word":"error"}'] }],
  usage: { input: 10, output: 5 },
};

const nothing = fc.letrec<{ nothing: Json }>((tie) => ({
  nothing: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<Json>({}, [], "", " \n", false, null, 0),
    fc.dictionary(fc.constantFrom("message", "code", "type", "error"), tie("nothing"), {
      maxKeys: 3,
    }),
  ),
})).nothing;

/** Every event or document with this error at its top. */
const withError = (stream: string, error: Json): string =>
  stream.replaceAll(/^data: (\{.*\})$/gmsu, (lines) =>
    lines
      .split("\n")
      .map((line) =>
        line.startsWith("data: {")
          ? `data: ${JSON.stringify({ error, ...(JSON.parse(line.slice(6)) as object) })}`
          : line,
      )
      .join("\n"),
  );

describe.each(streams)(
  "an answer of $provider with an error of nothing",
  ({ provider, model, stream }) => {
    const asked = { ...plain(`${provider}/${model}`), tools: [lookUp] };
    const fine = {
      ok: true,
      value: { content: text, toolCalls: [{ name: lookUp.name, arguments: { word: "error" } }] },
    };

    test("is taken as it is, streamed or whole, in whatever pieces [llm.empty-error]", async () => {
      const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });
      await fc.assert(
        fc.asyncProperty(nothing, sizes, fc.boolean(), async (error, pieces, crlf) => {
          const events = withError(stream(spoken), error);
          expect(events).not.toBe(stream(spoken));
          const streamed = await vendor(answerStream(events, { sizes: pieces, crlf }));
          expect(await streamed.models.complete(asked, never)).toMatchObject(fine);
          const document = { error, ...(wholes[provider](spoken) as JsonObject) };
          const whole = await vendor(answerJson(document));
          expect(await whole.models.complete(asked, never)).toMatchObject(fine);
        }),
        { numRuns: 25 },
      );
    });

    test("is still that error where it says anything [llm.empty-error]", async () => {
      for (const error of [
        "down",
        { message: "down" },
        { code: 500 },
        { error: { message: "x" } },
      ]) {
        expect(saysError(error)).toBe(true);
        const whole = await vendor(answerJson({ error }));
        expect(await whole.models.complete(asked, never)).toMatchObject({ ok: false });
      }
    });
  },
);
