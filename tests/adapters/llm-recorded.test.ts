import { randomUUID } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createModels } from "../../adapters/llm/models.ts";
import { createRecorded } from "../../adapters/llm/recorded.ts";
import { lookUp, plain } from "../support/model-requests.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { useVendors, vendorProviders } from "../support/vendor-server.ts";
import { answerStream, chatStream } from "../support/vendor-streams.ts";

const never = new AbortController().signal;
const { vendor } = useVendors();
const folder = useTemporaryFolder();
const newFile = () => join(folder, `${randomUUID()}.jsonl`);
const secret = "hunter2-hunter2";
const hide = (text: string) => text.replaceAll(secret, "[redacted]");

test("a conversation is recorded without its secrets, and played back without a model [llm.recorded]", async () => {
  const file = newFile();
  let count = 0;
  const { url, seen } = await vendor((response) => {
    count += 1;
    const spoken = { text: [`answer ${count} of ${secret}`] };
    return answerStream(chatStream(spoken))(response);
  });
  const providers = vendorProviders(url);
  const record = createModels({
    providers,
    recording: (live) => createRecorded({ file, hide, live }),
  });
  const ask = (text: string, key: string) => ({
    ...plain("recorded/openai/gpt-4o"),
    messages: [{ role: "user" as const, content: `${text} ${secret}` }],
    tools: [lookUp],
    idempotencyKey: key,
  });
  const first = await record.complete(ask("one", "k1"), never);
  // What was answered is handed on as it came: the secret is taken out of the file alone.
  expect(first).toMatchObject({ value: { content: `answer 1 of ${secret}`, provider: "openai" } });
  await record.complete(ask("two", "k2"), never);
  await record.complete(ask("two", "k2"), never);
  expect(seen).toHaveLength(2);
  const written = readFileSync(file, "utf8");
  expect(written).not.toContain(secret);
  expect(written).not.toContain("sk-test");

  const play = createModels({
    providers: [],
    recording: () => createRecorded({ file, hide, live: null }),
  });
  const parts: unknown[] = [];
  for (const key of ["k7", "k8", "k8"]) {
    const again = await play.complete(ask("one", key), never, (part) => void parts.push(part));
    expect(again).toMatchObject({
      value: { content: "answer 1 of [redacted]", provider: "openai", scripted: true },
    });
  }
  expect(parts[0]).toEqual({ type: "text", text: "answer 1 of [redacted]" });
  const strange = await play.complete(ask("three", "k9"), never);
  expect(strange).toMatchObject({ failure: { kind: "model_failed", retryable: false } });
  expect(strange.ok ? "" : strange.failure.message).toContain(
    "message 1 of the conversation is new",
  );
  const hotter = await play.complete({ ...ask("one", "k9"), temperature: 1 }, never);
  expect(hotter.ok ? "" : hotter.failure.message).toContain("differs in temperature");
});

test("the same request gets its answers in the order in which they were recorded", async () => {
  const file = newFile();
  const { idempotencyKey: _key, ...request } = { ...plain("gpt-4o") };
  const reply = (content: string) => ({
    provider: "openai",
    model: "gpt-4o",
    content,
    toolCalls: [],
    finishReason: "stop",
    usage: { inputTokens: 1, outputTokens: 1 },
  });
  const lines = ["a", "b"].map((content) => JSON.stringify({ request, reply: reply(content) }));
  writeFileSync(file, `${lines.join("\n")}\n\n`);
  const models = createRecorded({ file, hide, live: null });
  const said: string[] = [];
  for (const idempotencyKey of ["1", "2", "1", "3"]) {
    const outcome = await models.complete({ ...plain("gpt-4o"), idempotencyKey }, never);
    said.push(outcome.ok ? outcome.value.content : "");
  }
  expect(said).toEqual(["a", "b", "a", "b"]);
});

test.each(["{}", "nonsense", '{"request":{},"reply":{"content":1}}'])(
  "a file with the line %j is refused by its line",
  async (line) => {
    const file = newFile();
    writeFileSync(file, `\n${line}\n`);
    const models = createRecorded({ file, hide, live: null });
    const outcome = await models.complete(plain("gpt-4o"), never);
    expect(outcome).toMatchObject({
      failure: { kind: "invalid_input", message: expect.stringContaining("line 2") },
    });
  },
);

test("a file that can't be written is said before a model is asked", async () => {
  const { models, seen } = await vendor(answerStream(chatStream({ text: ["hi"] })));
  const file = join(folder, "no-such-folder", "talk.jsonl");
  const recorded = createRecorded({ file, hide, live: models });
  expect(await recorded.complete(plain("gpt-4o"), never)).toMatchObject({
    failure: { kind: "misconfigured", message: expect.stringContaining("ENOENT") },
  });
  expect(seen).toEqual([]);
});
