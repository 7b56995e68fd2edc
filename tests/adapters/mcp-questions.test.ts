import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answersOfYes } from "../../actors/handlers/tool-questions.ts";
import { readQuestions } from "../../adapters/mcp/questions.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { failure } from "../support/failure.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();
const script = fileURLToPath(new URL("../support/raw-mcp-server.ts", import.meta.url));
const stateless = {
  name: "raw",
  command: process.execPath,
  args: [script],
  env: { NODE_NO_WARNINGS: "1", RAW_MODE: "stateless" },
};
const requestedSchema = { type: "object", properties: { sure: { type: "boolean" } } };
const asking = (params: unknown, more: object = {}): object => ({
  inputRequests: { a: { method: "elicitation/create", params } },
  ...more,
});

describe("a server that wants an answer before it goes on", () => {
  test("and says so in a way that can't be read has failed, and is told from one that may have run [mcp.questions]", async () => {
    const host = hostOf([stateless]);
    // An unsafe tool: had the answer not been read, it would be in doubt.
    const tool = value(await host.describe("twice", never));
    const call = (fields: object) =>
      host.call(
        tool,
        { result: JSON.stringify({ resultType: "input_required", ...fields }) },
        never,
      );
    const malformed: object[] = [
      { inputRequests: null },
      { inputRequests: [] },
      { inputRequests: "x" },
      { inputRequests: { a: null } },
      { inputRequests: { a: {} } },
      { inputRequests: { a: { method: 5, params: {} } } },
      { inputRequests: { a: { method: "elicitation/create" } } },
      asking(null),
      asking([]),
      asking({ message: "m" }),
      asking({ message: 5, requestedSchema }),
      asking({ message: "m", requestedSchema: "x" }),
      asking({ message: "m", requestedSchema: { properties: { sure: null } } }),
      asking({ message: "m", requestedSchema: { ...requestedSchema, required: "sure" } }),
      asking({ message: "m", requestedSchema: { description: "x".repeat(100_000) } }),
      asking({ message: "m", requestedSchema }, { requestState: "s".repeat(300_000) }),
      { inputRequests: Object.fromEntries(Array.from({ length: 21 }, (_, at) => [at, {}])) },
    ];
    for (const fields of malformed) {
      const failed = failure(await call(fields));
      expect(failed).toMatchObject({ kind: "tool_failed", retryable: false });
      expect(failed.message).toMatch(
        /^tool "twice" of MCP server "raw" (asks in a way that can't|gave an answer that is not MCP's)/u,
      );
    }
    for (const fields of [
      asking({ mode: "url", message: "m", url: "https://example.com" }),
      { inputRequests: { a: { method: "roots/list" } } },
    ]) {
      expect(failure(await call(fields)).message).toContain("what nobody here may give");
    }
    const asked = value(await call(asking({ message: "Sure?", requestedSchema })));
    expect(asked.asks?.questions).toEqual([
      { key: "a", message: "Sure?", schema: requestedSchema },
    ]);
  });

  test("is read or refused whatever it sends, and what is read can be answered or refused [mcp.questions]", () => {
    const some = fc.jsonValue({ maxDepth: 2 });
    const key = fc.oneof(fc.constantFrom("__proto__", "constructor", "a"), fc.string());
    const field = fc.oneof(some, fc.record({ type: fc.constant("boolean") }));
    const schema = fc.oneof(
      some,
      fc.record(
        { properties: fc.dictionary(key, field), required: fc.oneof(some, fc.array(key)) },
        { requiredKeys: [] },
      ),
    );
    const params = fc.oneof(
      some,
      fc.record({ message: fc.oneof(some, fc.string()), requestedSchema: schema }),
    );
    const request = fc.oneof(
      some,
      fc.record({ method: fc.oneof(fc.constant("elicitation/create"), some), params }),
    );
    const result = fc.record(
      {
        requestState: fc.oneof(some, fc.string()),
        inputRequests: fc.oneof(some, fc.dictionary(key, request)),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(result, (given) => {
        const read = readQuestions(JSON.parse(JSON.stringify(given)) as never);
        if (typeof read === "string") return;
        const { inputRequests = {} } = given as { inputRequests?: Json };
        expect(read.questions.map((question) => question.key)).toEqual(
          Object.keys(JSON.parse(JSON.stringify(inputRequests)) as object),
        );
        const yes = answersOfYes({ name: "any", server: "any" }, read);
        if (yes.ok)
          expect(Object.keys(yes.value.answers).sort()).toEqual(
            read.questions.map((one) => one.key).sort(),
          );
      }),
      { numRuns: 500 },
    );
  });
});
