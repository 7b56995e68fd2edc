import { describe, expect, test } from "vitest";
import { estimateCall } from "../../actors/step/call-estimate.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices } from "../../adapters/llm/prices.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { answerJson } from "../support/answer-json.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, type Spoken, streams } from "../support/vendor-streams.ts";
import { wholes } from "../support/vendor-wholes.ts";

/*
 * Bills: what a call costs through the vendors' own SDKs, against a server that speaks their wire formats. The amounts
 * in bills.txt were worked out by hand from the vendors' published prices; a change of a price, of a reader or of the
 * arithmetic shows there, to the micro-dollar.
 */

const { vendor } = useVendors();
const prices = createPrices({
  now: () => Date.UTC(2026, 10, 25),
  // In the tests `responses` is OpenAI's newer API under a name of its own.
  providers: { responses: { baseUrl: "https://api.openai.com/v1" } },
});

const text = ["0123456789", "0123456789", "0123456789"];
const calls = [{ id: "call_a", name: "files_look-up", pieces: ['{"word":', '"lease"}'] }];
const counted = { input: 1_000, output: 50 };

const cases: Record<string, Spoken> = {
  plain: { text, usage: counted },
  "cache read": { text, usage: { ...counted, cacheRead: 400 } },
  "cache write 5 m": { text, usage: { ...counted, write5m: 300 } },
  "cache write 1 h": { text, usage: { ...counted, write1h: 300 } },
  "all caches": { text, usage: { ...counted, cacheRead: 400, write5m: 200, write1h: 100 } },
  reasoning: { text, usage: { ...counted, reasoning: 30 } },
  tools: { calls, finish: "tool_calls", usage: counted },
};

/** OpenAI neither counts nor charges what is written to its cache. */
const isOffered = (provider: string, name: string) =>
  provider === "anthropic" || !/write|all/u.test(name);

type Row = [provider: string, how: string, what: string, usage: Usage | null, note: string];

const head = [
  "| provider | answer | case | input | output | read | write 5 m | write 1 h | reasoning | micro-dollars | |",
  "|---|---|---|--:|--:|--:|--:|--:|--:|--:|---|",
];

const line = ([provider, how, what, usage, note]: Row): string => {
  const { inputTokens, outputTokens, costMicros, ...parts } = usage ?? ({} as Usage);
  const cells = [
    provider,
    how,
    what,
    inputTokens,
    outputTokens,
    parts.cacheReadTokens ?? 0,
    parts.cacheWrite5mTokens ?? 0,
    parts.cacheWrite1hTokens ?? 0,
    parts.reasoningTokens ?? 0,
    costMicros,
    note,
  ];
  return `| ${cells.join(" | ")} |`;
};

describe("bills", () => {
  test("each is right to the micro-dollar, whatever is in it and however it comes [bills.golden]", async () => {
    const rows: Row[] = [];
    for (const { provider, model, stream } of streams) {
      const request: ModelRequest = { ...plain(`${provider}/${model}`), tools: [lookUp] };
      for (const [what, spoken] of Object.entries(cases)) {
        if (!isOffered(provider, what)) continue;
        const answers = [
          ["streamed", answerStream(stream(spoken), { sizes: [7, 31] })],
          ["whole", answerJson(wholes[provider](spoken))],
        ] as const;
        for (const [how, answer] of answers) {
          const { url } = await vendor(answer);
          const reply = await priced(url).complete(request, new AbortController().signal);
          if (!reply.ok) throw new Error(`${provider} ${what}: ${reply.failure.message}`);
          rows.push([provider, how, what, reply.value.usage, ""]);
        }
      }
      rows.push(...(await miscounted(provider, request, stream)));
      rows.push([
        provider,
        "streamed",
        "aborted",
        await aborted(provider, request, stream),
        "by what was received",
      ]);
      rows.push([provider, "whole", "aborted", await unanswered(request), "by what was reserved"]);
    }
    const table = [...head, ...rows.map(line)].join("\n");
    await expect(`${table}\n`).toMatchFileSnapshot("bills.txt");
  });
});

function priced(url: string) {
  const models = createModels({ providers: vendorProviders(url) });
  return createPricedModels(models, { prices, strict: true, log: { warn() {} } });
}

/** Of 300 characters the provider counts one token, before they come; none; or all, in an answer that is of no use. */
async function miscounted(
  provider: keyof typeof wholes,
  request: ModelRequest,
  stream: (spoken: Spoken) => string,
): Promise<Row[]> {
  const spoken: Spoken = { text: Array.from({ length: 10 }, () => text.join("")), usage: counted };
  const whole = wholes[provider](spoken);
  const usage = whole["usage"] as JsonObject;
  const uncounted = { output_tokens: 0, completion_tokens: 0, total_tokens: 0 };
  const noUse = { content: null, choices: [], output: null };
  const answers = [
    ["streamed", "early count", answerStream(countedEarly(stream(spoken)))],
    ["whole", "no output counted", answerJson({ ...whole, usage: { ...usage, ...uncounted } })],
    ["whole", "of no use", answerJson({ ...whole, ...noUse })],
  ] as const;
  const rows: Row[] = [];
  for (const [how, what, answer] of answers) {
    const { url } = await vendor(answer);
    const outcome = await priced(url).complete(request, new AbortController().signal);
    const used = outcome.ok ? outcome.value.usage : usageOfFailure(outcome.failure);
    expect(outcome.ok).toBe(what !== "of no use");
    rows.push([provider, how, what, used, what === "of no use" ? "" : "by what was received"]);
  }
  return rows;
}

/** The same stream with one token counted in its first event, and no count at its end. */
function countedEarly(events: string): string {
  const all = events
    .split("\n\n")
    .map((event) => event.replaceAll(/"output_tokens":50/gu, '"output_tokens":0'));
  const count = { prompt_tokens: counted.input, completion_tokens: 1 };
  return all
    .map((event) => event.replace(/"usage":\{"prompt_tokens".*\}\}/u, '"usage":null}'))
    .join("\n\n")
    .replace('"usage":null', `"usage":${JSON.stringify(count)}`);
}

/** The stream stops after its text, and the call is aborted there. */
async function aborted(
  provider: string,
  request: ModelRequest,
  stream: (spoken: Spoken) => string,
): Promise<Usage | null> {
  const [first = "", second = "", third = "END-OF-TEXT"] = text.map((piece, at) => `${piece}${at}`);
  const events = stream({ text: [first, second, third], usage: counted });
  const end = events.indexOf("\n\n", events.indexOf(third)) + 2;
  const until = { part: end / Buffer.byteLength(events), after: "silence" as const };
  const { url } = await vendor(answerStream(events, { until }));
  const abort = new AbortController();
  let received = "";
  const outcome = await priced(url).complete(request, abort.signal, (part) => {
    if (part.type === "text") received += part.text;
    if (received.endsWith(third)) abort.abort();
  });
  expect(outcome, provider).toMatchObject({ ok: false, failure: { kind: "cancelled" } });
  return outcome.ok ? null : usageOfFailure(outcome.failure);
}

/** Nothing comes before the call is aborted: nobody has counted, and what was reserved stands. */
async function unanswered(request: ModelRequest): Promise<Usage | null> {
  const { url, seen } = await vendor(() => {});
  const models = priced(url);
  const abort = new AbortController();
  const asked = models.complete(request, abort.signal);
  while (seen.length === 0) await new Promise(setImmediate);
  abort.abort();
  const outcome = await asked;
  const said = outcome.ok ? null : usageOfFailure(outcome.failure);
  const reserved = estimateCall({ models, prices }, request);
  return said ?? ({ ...reserved } as Usage);
}
