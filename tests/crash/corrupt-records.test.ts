import { mkdtemp, rm } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { recordId } from "../../machines/contracts/wire/record-text.ts";
import { corpusJob, corpusStep } from "../corpus/corpus-steps.ts";
import { putBack } from "../corpus/put-back.ts";
import { composeWorker, type TestWorker } from "../support/compose-worker.ts";
import { redisBackends, sqliteBackends } from "../support/backends.ts";
import { type FerrumDeckGateway, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";

const file = join(import.meta.dirname, "../corpus/v1-awaiting-second-answer.json");
const { record } = JSON.parse(readFileSync(file, "utf8"));
const { snapshot, journal } = record;
const inner = snapshot.snapshot;
const withContext = (change: object) => ({
  ...snapshot,
  snapshot: { ...inner, context: { ...inner.context, ...change } },
});

/** What a store might give back, and the words with which it is refused. */
const corrupt: { what: string; kept: { snapshot: unknown; journal: unknown[] }; says: RegExp }[] = [
  {
    what: "version 0",
    kept: { snapshot: { ...snapshot, version: 0 }, journal },
    says: /version 0 .*reads version 1/,
  },
  {
    what: "version 99",
    kept: { snapshot: { ...snapshot, version: 99 }, journal },
    says: /version 99 .*reads version 1/,
  },
  {
    what: "no version",
    kept: { snapshot: { snapshot: inner }, journal },
    says: /snapshot.*version/,
  },
  { what: "a number", kept: { snapshot: 42, journal }, says: /stored snapshot/ },
  { what: "a list", kept: { snapshot: [snapshot], journal }, says: /stored snapshot/ },
  {
    what: "an unknown state",
    kept: { snapshot: { ...snapshot, snapshot: { ...inner, value: "dancing" } }, journal },
    says: /state "dancing" is none of/,
  },
  {
    what: "grants that are no list",
    kept: { snapshot: withContext({ grants: "all" }), journal },
    says: /grants/,
  },
  {
    what: "a negative count",
    kept: { snapshot: withContext({ attempts: -1 }), journal },
    says: /attempts/,
  },
  {
    what: "a journal of other things",
    kept: { snapshot, journal: [...journal, { event: "dreamt" }] },
    says: /stored journal/,
  },
  { what: "a journal of numbers", kept: { snapshot, journal: [1, 2, 3] }, says: /stored journal/ },
];

const redis = redisBackends();
const stores = [
  {
    backends: redis,
    async tear(room: string, text: string) {
      const client = new Redis(redis.server().url);
      const [key = ""] = await client.keys(`${room}:*step:${recordId(corpusJob)}`);
      await client.hset(key, "snapshot", text);
      client.disconnect();
    },
  },
  {
    backends: sqliteBackends(),
    async tear(room: string, text: string) {
      const database = new DatabaseSync(`file:${room}?mode=memory&cache=shared`);
      database.prepare("UPDATE steps SET snapshot = ? WHERE id = ?").run(text, recordId(corpusJob));
      database.close();
    },
  },
];

describe.each(stores)("a kept step that can't be read, on $backends.name", ({ backends, tear }) => {
  let room: string;
  let folder: string;
  let backend: StepBackend;
  let gateway: FerrumDeckGateway;
  let worker: TestWorker | undefined;
  const world = { done: [] as string[], isBusy: false, losesAnswers: false };
  const key = { runId: corpusJob.runId, stepId: corpusJob.stepId };

  beforeAll(() => backends.start());
  afterAll(() => backends.stop());
  beforeEach(async () => {
    room = `room${randomUUID().slice(0, 8)}`;
    folder = await mkdtemp(join(tmpdir(), "stateplane-corrupt-"));
    backend = await backends.backend(room);
    gateway = await startFerrumDeckGateway();
    world.done = [];
  });
  afterEach(async () => {
    await worker?.close();
    worker = undefined;
    await backend.close();
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function deliver() {
    const options = { handlers: { llm: corpusStep(world, false) } };
    worker = composeWorker({ backend, controlPlane: gateway, artifacts: folder, options });
    await backend.queue.publish({ data: toEnvelope(corpusJob) });
    await worker.ended(key.stepId);
  }

  async function expectDeadLetter(says: RegExp) {
    expect(world.done).toEqual([]);
    const letters = await backend.queue.deadLetters(10);
    expect(letters).toMatchObject([{ reason: expect.stringMatching(says) }]);
    expect(gateway.results().map(({ body }) => body)).toMatchObject([
      { status: "failed", error: { kind: "corrupt_record" } },
    ]);
    expect(await backend.queue.stats()).toMatchObject({ length: 0, pending: 0, deadLetters: 1 });
  }

  it.each(corrupt)(
    "$what: a dead letter that says so, and a report, never a fresh start [record.corrupt]",
    async ({ kept, says }) => {
      await putBack(backend, kept, key);
      await deliver();
      await expectDeadLetter(says);
    },
  );

  it("a snapshot cut off in the middle: the same [record.corrupt]", async () => {
    await putBack(backend, { snapshot, journal }, key);
    await tear(room, JSON.stringify(snapshot).slice(0, 300));
    await deliver();
    await expectDeadLetter(/stored snapshot of the step can't be read/);
  });

  it("the worker goes on with the next step", async () => {
    await putBack(backend, { snapshot: { ...snapshot, version: 99 }, journal }, key);
    await deliver();
    const next = { ...corpusJob, stepId: "stp_next", stepType: "retrieval" as const };
    const input = { query: "x", documents: [{ content: "x" }] };
    await backend.queue.publish({ data: toEnvelope({ ...next, input }) });
    expect(await worker?.ended("stp_next")).toMatchObject([{ how: "settled" }]);
  });
});
