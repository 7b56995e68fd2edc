import { randomUUID } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { JournalEntry } from "../../machines/contracts/domain/record.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { startScene, type Scene } from "../support/bare-plane.ts";

let scene: Scene;
afterEach(() => scene.close());

const llm = { stepType: "llm", input: { task: "pay" } };
const start = async (given: Parameters<typeof startScene>[1] = {}) => {
  scene = await startScene(randomUUID(), given);
  scene.plane.advertised.add("idempotent-results");
  return scene;
};
const key = { runId: "run_1", stepId: "stp_1" };

/** What an earlier worker wrote before it died: in the record of the job that is on the stream. */
async function leftBehind(backend: StepBackend, journal: JournalEntry[]): Promise<void> {
  const [entry] = await backend.queue.claimStale(0, 1);
  if (entry === undefined) throw new Error("nothing is on the stream");
  const opening = await backend.store.open(entry.entryId, key, 1_000, entry.fields);
  if (opening.kind !== "opened") throw new Error(opening.kind);
  await backend.store.append(opening.lease, journal);
}

describe("a job that was delivered too often", () => {
  it("is reported failed with the first cause, and with what may have run [dead-letter.first-cause]", async () => {
    await start();
    const fields = { run_id: "run_1", step_id: "stp_1", step_type: "llm", input: "{}" };
    expect(parseJob(fields).valid).toBe(true);
    await scene.backend.queue.publish(fields);
    await scene.backend.queue.read(1, 0, new AbortController().signal);
    await leftBehind(scene.backend, [
      { event: "abandoned", at: 1, message: "the chart fell over" },
      { event: "abandoned", at: 2, message: "and again" },
      { event: "begun", effect: "tool:pay#1234#1", at: 3 },
    ]);
    for (let delivery = 3; delivery <= 4; delivery += 1) {
      await scene.backend.queue.claimStale(0, 1);
    }
    scene.clock.advance(4_000);
    await scene.deliver({ stepType: "llm", input: {} }, 1);
    const [report] = scene.plane.applied;
    expect(report?.body).toMatchObject({
      status: "failed",
      error: { kind: "delivered_too_often" },
    });
    const message = String(report?.body.error?.["message"]);
    expect(message).toContain("at first: the chart fell over");
    expect(message).toContain("tool:pay was started and may have run");
    expect(scene.handler.calls).toBe(0);
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(JSON.stringify(letter?.journal)).toContain("tool:pay");
  });

  it("and that neither a report nor its record ended, becomes a dead letter past both [dead-letter.past-record]", async () => {
    await start({
      wrap: ({ queue, store }) => ({
        queue,
        store: { ...store, open: () => Promise.reject(new Error("never asked")) },
      }),
    });
    await scene.deliver(llm, 9);
    expect(scene.plane.reports).toEqual([]);
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(letter?.reason).toContain("delivered 9 times");
    expect(letter?.reason).toContain("may have run");
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0 });
  });
});

describe("a job that can't even be taken up", () => {
  it("becomes a dead letter by itself: the worker and its other steps go on [dead-letter.unreadable]", async () => {
    let hits = 0;
    await start({
      wrap: ({ queue, store }) => ({
        store,
        queue: {
          ...queue,
          async read(...given) {
            const deliveries = await queue.read(...given);
            // Whatever reads it throws, once.
            for (const { fields } of deliveries) {
              const { data } = fields;
              if (!data?.includes("stp_bad")) continue;
              const get = () => {
                if (hits++ === 0) throw new RangeError("Maximum call stack size exceeded");
                return data;
              };
              Object.defineProperty(fields, "data", { get, enumerable: true });
            }
            return deliveries;
          },
        },
      }),
    });
    const bad = { run_id: "run_1", step_id: "stp_bad", step_type: "llm", input: {} };
    await scene.backend.queue.publish({ data: JSON.stringify({ payload: bad }) });
    await scene.deliver(llm, 1);
    expect(hits).toBeGreaterThan(0);
    const [letter] = await scene.backend.queue.deadLetters(10);
    expect(letter?.reason).toContain("can't be taken up: Maximum call stack size exceeded");
    expect(letter?.fields["data"]).toContain("stp_bad");
    expect(scene.plane.applied).toMatchObject([{ stepId: "stp_1", body: { status: "completed" } }]);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0 });
  });
});

describe("a parked step", () => {
  const busyOnce = (): { handler: StepHandler; calls: () => number } => {
    let calls = 0;
    const handler: StepHandler = async () => {
      calls += 1;
      return calls === 1
        ? { kind: "failed", failure: retryable("rate_limited", "later", 3_600_000) }
        : { kind: "done", output: "done" };
    };
    return { handler, calls: () => calls };
  };

  it("is taken up from its record although its delivery can't be read: the kept job wins [record.job-wins]", async () => {
    const { handler, calls } = busyOnce();
    await start({ handler, options: { maxDeliveries: 50 } });
    await scene.deliver(llm, 1);
    expect(await scene.backend.store.find(key)).toMatchObject({ phase: "parked" });
    await scene.deliver({ stepType: "a type of tomorrow" }, 1);
    expect(calls()).toBe(2);
    expect(scene.plane.applied).toMatchObject([{ body: { status: "completed", output: "done" } }]);
    expect(await scene.backend.queue.stats()).toMatchObject({ deadLetters: 0 });
  });

  it("wakes at its total deadline, however long its back-off [park.deadline]", async () => {
    await start({ handler: busyOnce().handler, totalMs: 120_000 });
    await scene.deliver({ ...llm, createdAt: scene.clock.now() }, 1);
    const record = await scene.backend.store.find(key);
    expect((record?.wakeAt ?? 0) - scene.clock.now()).toBeLessThanOrEqual(120_000);
    await scene.pass(125_000);
    await scene.rest();
    expect(scene.plane.applied).toMatchObject([{ body: { error: { kind: "timeout" } } }]);
  });

  it("counts its total deadline from when it was made, not from when it was put back [park.deadline]", async () => {
    const { handler, calls } = busyOnce();
    await start({ handler, totalMs: 600_000 });
    await scene.deliver({ ...llm, createdAt: scene.clock.now() - 595_000 }, 1);
    expect(await scene.backend.store.find(key)).toMatchObject({ phase: "parked" });
    scene.clock.advance(6_000);
    // As FerrumDeck puts an approved step back: an envelope of now.
    await scene.deliver({ ...llm, createdAt: scene.clock.now() }, 1);
    expect(calls()).toBe(1);
    expect(scene.plane.applied).toMatchObject([
      { body: { error: { kind: "timeout", details: { deadline: "total" } } } },
    ]);
  });
});

describe("the tokens of a step that fails", () => {
  const usage = { inputTokens: 11, outputTokens: 7 };
  const spent = { input_tokens: 11, output_tokens: 7 };

  it("are reported with its own failure", async () => {
    const failure = terminal("model_failed", "it refused to answer");
    await start({ handler: async () => ({ kind: "failed", failure, usage }) });
    await scene.deliver(llm, 1);
    expect(scene.plane.applied).toMatchObject([{ body: { status: "failed", ...spent } }]);
  });

  it("are reported when what came of them is not accepted", async () => {
    await start({
      handler: async () => ({ kind: "done", output: { response: "no JSON" }, usage }),
      options: {
        limits: { maxAttempts: 1, maxRepairs: 0, baseDelayMs: 1, maxDelayMs: 1, parkAfterMs: 9 },
      },
    });
    const input = { task: "think", output_schema: { type: "object" } };
    await scene.deliver({ ...llm, input }, 1);
    expect(scene.plane.applied).toMatchObject([
      { body: { status: "failed", error: { kind: "invalid_output" }, ...spent } },
    ]);
  });

  it("are reported when its report is refused", async () => {
    await start({ handler: async () => ({ kind: "done", output: "x", usage }) });
    scene.plane.answers.report = [terminal("refused", "400")];
    await scene.deliver(llm, 1);
    expect(scene.plane.applied).toMatchObject([{ body: { status: "failed", ...spent } }]);
  });
});

it("trouble in the policy look is waited out, and leaves all attempts to the work [trouble.keeps]", async () => {
  let calls = 0;
  const handler: StepHandler = async () => {
    calls += 1;
    return { kind: "failed", failure: retryable("unavailable", "not now") };
  };
  await start({ handler });
  const key401 = terminal("unauthorized", "the key is being changed");
  scene.plane.answers.run = [
    ...Array.from({ length: 9 }, () => retryable("unavailable", "away")),
    ...Array.from({ length: 9 }, () => key401),
  ];
  await scene.deliver(llm, 1);
  expect(calls).toBe(3);
  expect(scene.plane.applied).toMatchObject([{ body: { error: { kind: "unavailable" } } }]);
  expect(scene.lines.filter(({ level }) => level === "error")).toHaveLength(1);
});
