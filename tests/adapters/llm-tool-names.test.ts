import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createToolNames } from "../../adapters/llm/tool-calls.ts";
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

/** Names that run into each other: the same but for a sign, in another script, too long, or made like a changed one. */
const word = fc.constantFrom("read", "Lesen", "読む", "читать", "9", "-", "x".repeat(70));
const sign = fc.constantFrom("", "_", ".", "/", ":", " ", "ä");
const names = fc
  .uniqueArray(
    fc.oneof(
      fc.tuple(word, sign, word).map((parts) => parts.join("")),
      fc.string({ minLength: 1, maxLength: 80, unit: "grapheme" }),
    ),
    { maxLength: 12 },
  )
  .map((some) => {
    const { outward } = createToolNames(some);
    // And somebody who knows how names are changed.
    return [...new Set([...some, ...some.slice(0, 3).map(outward)])];
  });

describe("the names of tools [llm.tool-names]", () => {
  test("go out in every vendor's alphabet, differ, and come back as they were, in whatever order", () => {
    fc.assert(
      fc.property(
        names.chain((some) =>
          fc.tuple(fc.constant(some), fc.shuffledSubarray(some, { minLength: some.length })),
        ),
        ([some, shuffled]) => {
          const table = createToolNames(some);
          const out = some.map(table.outward);
          expect(new Set(out).size).toBe(some.length);
          expect(out.every((name) => /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/u.test(name))).toBe(true);
          expect(out.map(table.inward)).toEqual(some);
          expect(some.map(createToolNames(shuffled).outward)).toEqual(out);
        },
      ),
    );
  });

  test("of a tool that is offered no more is nobody else's", () => {
    fc.assert(
      fc.property(names, fc.nat(12), (some, at) => {
        const gone = some[at];
        if (gone === undefined) return;
        const left = createToolNames(some.filter((name) => name !== gone));
        expect(some.filter((name) => name !== gone).map(left.outward)).not.toContain(
          left.outward(gone),
        );
      }),
    );
  });

  test("stay readable where no more than their points must go", () => {
    const { outward } = createToolNames([
      "files.read",
      "git.status",
      "git_status",
      "git/log",
      "git:log",
    ]);
    expect(outward("files.read")).toBe("files_read");
    expect(outward("git_status")).toBe("git_status");
    expect(outward("git.status")).toMatch(/^git_status_[0-9a-f]{8}$/u);
    expect(outward("git/log")).not.toBe(outward("git:log"));
  });

  const called = ["datei.öffnen", "datei.offnen", "ファイル", "フォルダ", `${"long-".repeat(20)}a`];
  const streams = { anthropic: messageStream, openai: chatStream, responses: responseStream };
  test.each(Object.entries(streams))(
    "are the same to the loop, whoever is asked: %s",
    async (provider, stream) => {
      const model = `${provider}/${provider === "anthropic" ? "claude-opus-4-5" : "gpt-4.1"}`;
      const tools = called.map((name) => ({
        name,
        description: "",
        inputSchema: { type: "object" },
      }));
      const { models, seen } = await vendor((response) => {
        const offered = (seen[0]?.body["tools"] ?? []) as {
          name?: string;
          function?: { name: string };
        }[];
        const calls = offered.map((tool, at) => ({
          id: `call_${at}`,
          name: tool.name ?? tool.function?.name ?? "",
          pieces: ["{}"],
        }));
        const usage = { input: 10, output: 5 };
        return answerStream(stream({ text: [], calls, usage }))(response);
      });
      const outcome = await models.complete({ ...plain(model), tools }, never);
      expect(outcome.ok && outcome.value.toolCalls.map(({ name }) => name)).toEqual(called);
    },
  );
});
