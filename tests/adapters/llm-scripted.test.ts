import { expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { readModelScript, createScripted } from "../../adapters/llm/scripted.ts";
import type { ModelMessage } from "../../machines/contracts/ports/model-provider.ts";

const never = new AbortController().signal;

function ask(idempotencyKey: string, text: string, earlier: ModelMessage[] = []) {
  const messages: ModelMessage[] = [...earlier, { role: "user", content: text }];
  return { model: "demo", messages, maxTokens: 100, idempotencyKey };
}

const script = [
  { reply: { toolCalls: [{ name: "read_file", arguments: { path: "a" } }] } },
  { expect: { contains: "42" }, reply: { content: "it is 42" } },
];

test("a script answers in order, and says that no model was asked", async () => {
  const models = createModels({ providers: [], script });
  const first = await models.complete({ ...ask("k1", "go"), model: "scripted/demo" }, never);
  const second = await models.complete({ ...ask("k2", "42"), model: "scripted/demo" }, never);

  expect(first).toEqual({
    ok: true,
    value: {
      provider: "scripted",
      model: "demo",
      content: "",
      toolCalls: [{ id: "scripted_0_0", name: "read_file", arguments: { path: "a" } }],
      finishReason: "tool_calls",
      usage: { inputTokens: 0, outputTokens: 0 },
      scripted: true,
    },
  });
  expect(second).toMatchObject({ value: { content: "it is 42", finishReason: "stop" } });
});

test("the same key gets the same answer again, and uses nothing up", async () => {
  const models = createScripted(script);
  const first = await models.complete(ask("k1", "go"), never);
  expect(await models.complete(ask("k1", "go"), never)).toEqual(first);
  expect(await models.complete(ask("k2", "42"), never)).toMatchObject({
    value: { content: "it is 42" },
  });
});

test("a step taken up in a new process goes on after the replies its conversation holds", async () => {
  const heard: ModelMessage[] = [
    { role: "user", content: "go" },
    {
      role: "assistant",
      content: "",
      toolCalls: [{ id: "scripted_0_0", name: "read_file", arguments: { path: "a" } }],
    },
    { role: "tool", toolCallId: "scripted_0_0", content: "42" },
  ];
  const models = createScripted(script);
  expect(await models.complete(ask("k2", "and?", heard), never)).toMatchObject({
    value: { content: "it is 42" },
  });
});

test("a call nobody planned fails with what was asked and what was expected", async () => {
  const models = createScripted([{ expect: { contains: "apples" }, reply: { content: "yes" } }]);
  const outcome = await models.complete(ask("k1", "how about pears?"), never);
  expect(outcome).toMatchObject({ failure: { kind: "model_failed", retryable: false } });
  const message = outcome.ok ? "" : outcome.failure.message;
  expect(message).toContain("how about pears?");
  expect(message).toContain("apples");

  await models.complete(ask("k2", "apples?"), never);
  const after = await models.complete(ask("k3", "apples?"), never);
  expect(after.ok ? "" : after.failure.message).toContain("every turn has been played");
});

test("a script that came from a file is checked", () => {
  expect(readModelScript(script)).toEqual(script);
  expect(readModelScript([{ reply: { toolCalls: [{ arguments: {} }] } }])).toMatch(/name/u);
  expect(readModelScript({ reply: {} })).toMatch(/^model script: /u);
  // Each problem apart from the next, in one line.
  expect(readModelScript([{ calls: [] }])).toMatch(/^model script: .*\[0\]\.reply.*; .*calls/u);
});

test("a turn that repeats is played once in every conversation", async () => {
  const models = createScripted(script.map((turn) => ({ ...turn, repeat: true })));
  for (const key of ["a", "b"]) {
    const first = await models.complete(ask(`${key}1`, "go"), never);
    expect(first).toMatchObject({ value: { toolCalls: [{ name: "read_file" }] } });
    const toolCalls = [{ id: "scripted_0_0", name: "read_file", arguments: { path: "a" } }];
    const heard: ModelMessage[] = [
      { role: "assistant", content: "", toolCalls },
      { role: "tool", toolCallId: "scripted_0_0", content: "42" },
    ];
    const second = await models.complete(ask(`${key}2`, "and?", heard), never);
    expect(second).toMatchObject({ value: { content: "it is 42" } });
  }
});

test("a key that means nothing is named", () => {
  expect(readModelScript([{ expects: {}, reply: { content: "x" } }])).toContain("expects");
});
