import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import { startScene, type Scene } from "../support/bare-plane.ts";
import {
  type RunStatus,
  runStatuses,
  isRunOver,
  isStepEnded,
  stepStatuses,
} from "../../machines/contracts/domain/status.ts";
import { retryable } from "../../machines/contracts/domain/failure.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";

const endedRuns = runStatuses.filter((status) => isRunOver(status));
const types: StepType[] = ["llm", "tool", "retrieval", "sandbox", "approval"];

const jobs = fc.record({
  stepType: fc.constantFrom(...types),
  run: fc.constantFrom(...runStatuses),
  step: fc.constantFrom(...stepStatuses),
  ageMs: fc.constantFrom(0, 30_000, 90_000, 1_000_000),
  deliveries: fc.constantFrom(1, 2, 3),
  /** What else makes a result that is not the first of work just done. */
  how: fc.constantFrom("plain", "unreadable", "late", "denied", "fails"),
});

async function play(scene: Scene, drawn: typeof jobs extends fc.Arbitrary<infer T> ? T : never) {
  const { stepType, run, step, ageMs, deliveries, how } = drawn;
  scene.plane.runStatus = run;
  scene.plane.stepStatus = step;
  scene.handler.fails = how === "fails";
  const input: Record<StepType, object> = {
    llm: { task: "think" },
    tool: { tool_name: how === "denied" ? "rm" : "look", tool_input: {} },
    retrieval: { query: "x" },
    sandbox: { code: "1" },
    approval: { message: "may I?" },
  };
  const job = { stepType, input: input[stepType], createdAt: scene.clock.now() - ageMs };
  await scene.deliver(how === "unreadable" ? { ...job, stepType: "dance" } : job, deliveries);
}

it("what has ended at a control plane that guards nothing is settled without a word, whatever is delivered, however often and however late [ended.quiet]", async () => {
  await fc.assert(
    fc.asyncProperty(jobs, async (drawn) => {
      const options = drawn.how === "late" ? { queueMs: 10_000 } : {};
      const scene = await startScene(randomUUID(), options);
      await play(scene, drawn);
      const { reports, applied } = scene.plane;
      const stats = await scene.backend.queue.stats();
      await scene.close();
      const isOver = endedRuns.includes(drawn.run);
      if (isOver) {
        expect(scene.handler.calls).toBe(0);
        expect(applied).toEqual([]);
        expect(stats).toMatchObject({ length: 0, pending: 0 });
      }
      const mayHaveBeenDone = drawn.deliveries > 1 || drawn.ageMs > 60_000;
      if (isStepEnded(drawn.step) && mayHaveBeenDone && drawn.how !== "unreadable") {
        expect(applied).toEqual([]);
        expect(stats).toMatchObject({ length: 0, pending: 0 });
      }
      // What has not ended is reported, once: nothing is swallowed.
      const isAsked = drawn.stepType === "approval" && drawn.how !== "unreadable";
      if (!isOver && drawn.run !== "policy_blocked" && !isStepEnded(drawn.step) && !isAsked) {
        expect(applied).toHaveLength(1);
      }
      expect(reports.length).toBeLessThanOrEqual(2);
    }),
    { numRuns: Number(process.env["ENDED_RUNS"] ?? 200) },
  );
});

it.each(["cancelled", "completed", "airlock_blocked"] as const)(
  "a result that another worker recorded before it died is not sent to a run that is %s by now [ended.quiet]",
  async (status) => {
    const scene = await startScene(randomUUID());
    await scene.leaveResult({ status: "completed", output: "paid", usage: null });
    scene.plane.runStatus = status;
    await scene.take();
    expect(scene.plane.applied).toEqual([]);
    expect(scene.plane.runStatus).toBe(status);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
    await scene.close();
  },
);

it.each([
  ["completed", 0],
  ["running", 1],
] as const)(
  "a recorded result of a step that is %s there is sent %d times, while the run goes on [ended.quiet]",
  async (status, times) => {
    const scene = await startScene(randomUUID());
    await scene.leaveResult({ status: "completed", output: "paid", usage: null });
    scene.plane.stepStatus = status;
    await scene.take();
    expect(scene.plane.applied).toHaveLength(times);
    expect(scene.handler.calls).toBe(0);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
    await scene.close();
  },
);

it("a run that is cancelled while its step waits to try again stays so [ended.quiet]", async () => {
  const limits = { maxAttempts: 9, maxRepairs: 0, baseDelayMs: 60_000, maxDelayMs: 60_000 };
  const scene = await startScene(randomUUID(), {
    handler: async () => ({ kind: "failed", failure: retryable("unavailable", "later") }),
    options: { limits: { ...limits, parkAfterMs: 90_000 } },
  });
  const delivered = scene.deliver({ stepType: "llm", input: { task: "think" } }, 1);
  await scene.pass(2_000);
  scene.plane.runStatus = "cancelled";
  await delivered;
  expect(scene.plane.applied).toEqual([]);
  expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
  await scene.close();
});

it.each(["cancelled", "budget_killed"] as const)(
  "a run that is %s while its step works stays so, and what the step says of it is not sent [ended.quiet]",
  async (status: RunStatus) => {
    const scene = await startScene(randomUUID());
    scene.handler.hangs = true;
    const delivered = scene.deliver({ stepType: "llm", input: { task: "think" } }, 1);
    await scene.pass(2_000);
    scene.plane.runStatus = status;
    await delivered;
    expect(scene.handler.calls).toBe(1);
    expect(scene.plane.applied).toEqual([]);
    expect(scene.plane.runStatus).toBe(status);
    expect(await scene.backend.queue.stats()).toMatchObject({ length: 0, deadLetters: 0 });
    await scene.close();
  },
);
