import * as fc from "fast-check";
import { expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { usageOfFailure, usageShape } from "../../machines/contracts/domain/step-result.ts";
import { modelFailureDetails } from "../../machines/contracts/ports/model-provider.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, streams } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();

const spoken = {
  text: ["Let me ", "look."],
  calls: [
    { id: "call_1", name: "files_look-up", pieces: ['{"word":', '"a"}'] },
    { id: "call_2", name: "files_look-up", pieces: ["{}"] },
  ],
  finish: "tool_calls" as const,
};

type Change = { at: number; path: number; value: fc.JsonValue; how: "replace" | "drop" | "twice" };

/** Some events of a stream are lost, doubled, or say something else at some place in them. */
function spoil(stream: string, changes: readonly Change[]): string {
  const events = stream.split("\n\n").filter((event) => event !== "");
  for (const { at, path, value, how } of changes) {
    const place = at % events.length;
    const event = events[place] ?? "";
    if (how === "drop") events.splice(place, 1);
    else if (how === "twice") events.splice(place, 0, event);
    else events[place] = replaced(event, path, value);
    if (events.length === 0) break;
  }
  return events.map((event) => `${event}\n\n`).join("");
}

function replaced(event: string, path: number, value: fc.JsonValue): string {
  const [head = "", data] = event.split("data: ");
  if (data === undefined || data === "[DONE]") return event;
  const parsed: unknown = JSON.parse(data);
  const places: { holder: Record<string, unknown>; key: string }[] = [];
  const walk = (item: unknown): void => {
    if (typeof item !== "object" || item === null) return;
    for (const key of Object.keys(item)) {
      const holder = item as Record<string, unknown>;
      places.push({ holder, key });
      walk(holder[key]);
    }
  };
  walk(parsed);
  const chosen = places[path % Math.max(1, places.length)];
  if (chosen !== undefined) chosen.holder[chosen.key] = value;
  return `${head}data: ${JSON.stringify(parsed)}`;
}

const change = fc.record({
  at: fc.nat(100),
  path: fc.nat(200),
  value: fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom<fc.JsonValue>("length", "error", "tool_use", "max_tokens", -1, 1e300, {}, [
      null,
    ]),
  ),
  how: fc.constantFrom("replace" as const, "replace" as const, "drop" as const, "twice" as const),
});

test.each(streams)(
  "whatever $provider sends comes to a reply or a failure of a kind, and nothing odd in it runs [llm.hostile]",
  async ({ provider, model, stream }) => {
    let events = "";
    const { url } = await vendor((response) => answerStream(events)(response));
    const models = createModels({ providers: vendorProviders(url) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), async (changes) => {
        events = spoil(stream(spoken), changes);
        const request = { ...plain(`${provider}/${model}`), tools: [lookUp] };
        const outcome = await models.complete(request, never, () => {});
        if (!outcome.ok) {
          expect(modelFailureDetails(outcome.failure)?.reason).toBeDefined();
          expect(outcome.failure.message.isWellFormed()).toBe(true);
          const usage = usageOfFailure(outcome.failure);
          if (outcome.failure.details?.["usage"] !== undefined) expect(usage).not.toBeNull();
          return;
        }
        const { content, toolCalls, usage, finishReason } = outcome.value;
        expect(usageShape().allows(usage)).toBe(true);
        expect(content.isWellFormed()).toBe(true);
        for (const { arguments: given, id, name, cutOff } of toolCalls) {
          expect(typeof id).toBe("string");
          expect(typeof name).toBe("string");
          const isObject = typeof given === "object" && given !== null && !Array.isArray(given);
          expect(isObject || given === null).toBe(true);
          if (finishReason === "length") expect([given, cutOff]).toEqual([null, true]);
        }
        expect(new Set(toolCalls.map(({ id }) => id)).size).toBe(toolCalls.length);
        // It is kept in a journal.
        expect(JSON.parse(JSON.stringify(outcome.value))).toEqual(outcome.value);
      }),
      { numRuns: 120 },
    );
  },
);
