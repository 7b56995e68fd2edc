import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import * as conventions from "@opentelemetry/semantic-conventions/incubating";
import { afterAll, beforeAll, expect, it } from "vitest";
import {
  argumentsContent,
  replyContent,
  requestContent,
  resultContent,
} from "../../actors/span-content.ts";
import type { SpanOptions } from "../../actors/options.ts";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { agentModel, agentTools } from "../support/agent-world.ts";
import { sqliteBackends } from "../support/backends.ts";
import { composeWorker } from "../support/compose-worker.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { listen } from "../support/listen.ts";

interface Span {
  traceId: string;
  name: string;
  attributes: { key: string; value: Record<string, unknown> }[];
}

const planted = "sk-planted-0123456789abcdef";
const all: Span[] = [];
const collector = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const { resourceSpans } = JSON.parse(Buffer.concat(chunks).toString());
    for (const { scopeSpans } of resourceSpans)
      for (const scope of scopeSpans) all.push(...scope.spans);
    response.end("{}");
  });
});

const asked: Record<string, SpanOptions> = {
  plain: {},
  content: { hasContent: true },
  ferrumdeck: { hasFerrumdeckNames: true },
};
const traceOf = (name: string) => `${Object.keys(asked).indexOf(name) + 1}`.repeat(32);
const spansOf = (name: string) => all.filter(({ traceId }) => traceId === traceOf(name));

// One tracing for all: OpenTelemetry's tracers stay with the first that they met.
beforeAll(async () => {
  const endpoint = `http://127.0.0.1:${await listen(collector)}`;
  const hide = (text: string) => text.replaceAll(planted, "[redacted]");
  const tracing = startTracing({ endpoint, serviceName: "test", hide });
  for (const name of Object.keys(asked)) await runAgent(name);
  await tracing.shutdown();
});
afterAll(() => collector.close());

/** An agent's step that calls a tool, and answers. */
async function runAgent(name: string): Promise<void> {
  const backend = await sqliteBackends().backend(`room${randomUUID().slice(0, 8)}`);
  const gateway = await startFerrumDeckGateway();
  const { models } = agentModel([
    { calls: [{ name: "read" }] },
    { content: `all done ${planted}` },
  ]);
  const { tools } = agentTools(["read"]);
  const worker = composeWorker({
    ports: { models, tools },
    backend,
    controlPlane: gateway,
    artifacts: "/nonexistent",
    options: {
      allowlist: { allowed: ["read"], approvalRequired: [], denied: [] },
      toolPolicy: "worker",
      spans: asked[name] ?? {},
    },
  });
  const input = { task: `look for ${planted}`, system_prompt: "Be kind.", model: "test/one" };
  const trace = { traceId: traceOf(name), spanId: "1".repeat(16) };
  const ids = { tenantId: "ten_1", projectId: null, agentId: "agt_1", ...trace };
  const job = { runId: "run_1", stepId: "stp_1", stepType: "llm" as const, createdAt: 1 };
  await backend.queue.publish({ data: toEnvelope({ ...job, input, ...ids }) });
  await worker.ended("stp_1");
  await worker.close();
  await backend.close();
  await gateway.close();
}

const valueOf = (spans: readonly Span[], name: string, key: string): unknown[] =>
  spans
    .filter((span) => span.name === name)
    .map(({ attributes }) => attributes.find((one) => one.key === key)?.value)
    .map((value) => (value === undefined ? null : Object.values(value)[0]));

it("what models and tools were told and said is in spans only where a worker is told to, without secrets [traces.content]", () => {
  const text = JSON.stringify(spansOf("plain"));
  expect(text).toContain("chat test/one");
  expect(text).not.toContain("look for");
  expect(text).not.toContain("all done");
  const spans = spansOf("content");
  expect(JSON.stringify(spans)).not.toContain(planted);
  const read = (name: string, key: string) =>
    valueOf(spans, name, key).map((value) => JSON.parse(String(value)));
  expect(read("chat test/one", "gen_ai.system_instructions")[0]).toEqual([
    { type: "text", content: expect.stringMatching(/^Be kind\./) },
  ]);
  const [, said] = read("chat test/one", "gen_ai.input.messages");
  expect(said[0]).toEqual({
    role: "user",
    parts: [{ type: "text", content: "look for [redacted]" }],
  });
  expect(said[1].parts[1]).toMatchObject({ type: "tool_call", name: "read" });
  expect(said[2].parts[0]).toMatchObject({ type: "tool_call_response" });
  expect(read("chat test/one", "gen_ai.output.messages")[1]).toEqual([
    {
      role: "assistant",
      parts: [{ type: "text", content: "all done [redacted]" }],
      finish_reason: "stop",
    },
  ]);
  expect(read("tools/call read", "gen_ai.tool.call.arguments")).toHaveLength(1);
  expect(read("tools/call read", "gen_ai.tool.call.result")).toHaveLength(1);
  const registry = new Set<unknown>(Object.values(conventions));
  const used = spans.flatMap(({ attributes }) => attributes.map(({ key }) => key));
  expect(used.filter((key) => key.startsWith("gen_ai.") && !registry.has(key))).toEqual([]);
});

it("content is JSON without secrets wherever they stand, and no longer than it may be [traces.content]", () => {
  const token = `ghp_${"a1B2c3D4e5".repeat(4).slice(0, 36)}`;
  const secrets = [token, "hunter2hunter2", "AKIAIOSFODNN7EXAMPLE", "Zm9vYmFyYmF6", "aGVsbG8="];
  const said = [
    `tokens:\n${token}\n\tAKIAIOSFODNN7EXAMPLE`,
    JSON.stringify({ note: JSON.stringify({ password: "hunter2hunter2" }) }),
  ].join("\n");
  const image = (url: string) => ({ type: "image" as const, url });
  const request = requestContent({
    messages: [
      { role: "system", content: said },
      ...Array.from({ length: 50 }, () => ({ role: "user" as const, content: "x".repeat(900) })),
      {
        role: "user",
        content: said,
        parts: [
          { type: "text", text: said },
          image("DATA:image/png;base64,aGVsbG8="),
          image("https://a.b/c?X-Amz-Signature=Zm9vYmFyYmF6"),
        ],
      },
      { role: "tool", toolCallId: "1", content: said },
    ],
  });
  const told: object[] = [
    request,
    replyContent({
      provider: "p",
      model: "m",
      content: said,
      toolCalls: [{ id: "1", name: "t", arguments: { said, password: "hunter2hunter2" } }],
      finishReason: "stop",
      usage: { inputTokens: 1, outputTokens: 1 },
    }),
    argumentsContent({ said }),
    resultContent({ said: [said] }),
  ];
  for (const attributes of told) {
    for (const [name, value] of Object.entries(attributes)) {
      for (const secret of secrets) expect(String(value), name).not.toContain(secret);
      expect(() => JSON.parse(String(value)) as unknown).not.toThrow();
      expect(String(value).length).toBeLessThan(10_000);
    }
  }
  expect(request["stateplane.messages.left_out"]).toBeGreaterThan(30);
});

it.each(
  Object.entries({
    "one long text": { text: "x".repeat(100_000) },
    "many texts": { list: Array.from({ length: 40 }, () => "y".repeat(3_000)) },
    "many small values": { list: Array.from({ length: 20_000 }, (_, at) => at) },
    "many keys": Object.fromEntries(Array.from({ length: 3_000 }, (_, at) => [`key ${at}`, true])),
    quotes: { text: '"'.repeat(20_000) },
  }),
)(
  "content is whole JSON and no longer than it may be with %s in arguments, parts and results [traces.content]",
  (_what, given) => {
    const call = (id: string) => ({ id, name: "write", arguments: given });
    const part = { type: "text" as const, text: JSON.stringify(given) };
    const told: object[] = [
      argumentsContent(given),
      resultContent(given),
      replyContent({
        provider: "p",
        model: "m",
        content: "",
        toolCalls: [call("1"), call("2"), call("3")],
        finishReason: "tool_calls",
        usage: { inputTokens: 1, outputTokens: 1 },
      }),
      requestContent({
        messages: Array.from({ length: 500 }, () => ({
          role: "assistant" as const,
          content: "",
          toolCalls: [call("1")],
        })),
      }),
      requestContent({
        messages: [{ role: "user", content: "", parts: Array.from({ length: 20 }, () => part) }],
      }),
    ];
    for (const attributes of told) {
      for (const value of Object.values(attributes)) {
        expect(() => JSON.parse(String(value)) as unknown).not.toThrow();
        expect(String(value).length).toBeLessThan(10_000);
      }
    }
    const [, , reply] = told as [object, object, Record<string, string>];
    const [{ parts }] = JSON.parse(reply["gen_ai.output.messages"] ?? "") as [{ parts: object[] }];
    expect(parts.length).toBeGreaterThan(0);
  },
);

it("FerrumDeck's names and its spans of verdicts stand beside the conventions' where they are asked for [traces.ferrumdeck]", () => {
  const plain = spansOf("plain");
  expect(JSON.stringify(plain)).not.toMatch(/gen_ai\.tool\.call|"gen_ai\.system"|"tool\./);
  const spans = spansOf("ferrumdeck");
  const said = (key: string) => valueOf(spans, "gen_ai.tool.call", key)[0];
  expect(said("gen_ai.tool.name")).toBe("read");
  expect(said("ferrumdeck.decision")).toBe("allow");
  expect(said("ferrumdeck.reason")).toContain("allow");
  expect(valueOf(spans, "tools/call read", "tool.status")).toEqual(["success"]);
  expect(valueOf(spans, "chat test/one", "gen_ai.system")[0]).toBeTruthy();
  expect(valueOf(spans, "chat test/one", "gen_ai.usage.total_tokens")[0]).toBeTruthy();
});
