import * as fc from "fast-check";
import { expect, test } from "vitest";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import { answers, manners, protocols } from "../support/answers-in-pieces.ts";
import { plain } from "../support/model-requests.ts";
import { useVendors } from "../support/vendor-server.ts";
import { answerStream } from "../support/vendor-streams.ts";

const { vendor } = useVendors();
const never = new AbortController().signal;
const tools = ["read", "write"].map((name) => ({ name, description: name, inputSchema: {} }));

const stream = (events: readonly object[]) =>
  events
    .map((event) => {
      const type = "type" in event ? `event: ${String(event.type)}\n` : "";
      return `${type}data: ${JSON.stringify(event)}\n\n`;
    })
    .join("");

/** The event that says why an answer ended: before it nothing is known to be whole. */
const ends =
  /"finish_reason":"|"type":"(?:message_delta|response\.completed|response\.incomplete)"/u;

test.each(Object.entries(protocols))(
  "an answer of %s is the same in pieces as it is whole: text, calls, end and bill [llm.pieces]",
  async (provider, { events, document }) => {
    let body = "";
    const { models } = await vendor((response) =>
      body.startsWith("{") ? response.end(body) : answerStream(body, { sizes: [97] })(response),
    );
    const request: ModelRequest = { ...plain(`${provider}/m`), tools };
    const outcomeOf = (next: string) => {
      body = next;
      return models.complete(request, never);
    };
    const ask = async (next: string) => {
      const outcome = await outcomeOf(next);
      if (!outcome.ok) throw new Error(outcome.failure.message);
      return outcome.value;
    };
    await fc.assert(
      fc.asyncProperty(answers, manners, fc.nat(), async (answer, manner, left) => {
        const whole = await ask(JSON.stringify(document(answer, manner)));
        const all = events(answer, manner);
        const pieces = await ask(stream(all));
        const end = all.findIndex((event) => ends.test(JSON.stringify(event)));
        const broken = await outcomeOf(stream(all.slice(0, 1 + (left % end))));
        expect(broken).toMatchObject({ ok: false, failure: { details: { reason: "network" } } });
        const ids =
          manner.ids === "none" && provider === "openai" ? pieces.toolCalls : answer.calls;
        expect(whole.content).toBe(answer.text);
        expect(whole.toolCalls).toMatchObject(
          answer.calls.map(({ id, name, arguments: given }) => ({
            id,
            name,
            arguments: answer.isCutOff ? null : given,
          })),
        );
        const toolCalls = whole.toolCalls.map((call, at) => ({ ...call, id: ids[at]?.id }));
        expect(pieces).toEqual({ ...whole, toolCalls });
        if (answer.counts === "all") {
          expect(whole.usage).toEqual({ inputTokens: 1_000, outputTokens: 77 });
        }
      }),
      { numRuns: 80 },
    );
  },
);
