import * as fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import type { Step } from "../../adapters/control-plane/embedded/documents.ts";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import { isRunEnded, isStepEnded } from "../../machines/contracts/domain/status.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import type { WorkflowEvent } from "../../machines/workflow/events.ts";
import { openValues } from "../../adapters/control-plane/embedded/workflows/values.ts";
import { PlainScheduler } from "../support/plain-scheduler.ts";
import { type Draw, drawFailure, drawFrom, drawWorkflow } from "../support/random-workflow.ts";
import { type Death, WorkflowPlane } from "../support/workflow-plane.ts";

const planes: WorkflowPlane[] = [];
afterEach(() => planes.splice(0).forEach((plane) => plane.close()));
const newPlane = (mostInChange?: number): WorkflowPlane => {
  const plane = new WorkflowPlane(":memory:", mostInChange);
  planes.push(plane);
  return plane;
};

const drawDeath = (draw: Draw): Death => (["before", "after"] as const)[draw(9)] ?? "none";

/** Workers, people and time, in any order, until the run has ended; each change may be its process's last. */
async function walk(plane: WorkflowPlane, runId: string, draw: Draw): Promise<number> {
  const { store } = plane;
  const jobs = new Map<string, Step>();
  const seen = new Map<string, number>();
  const reported: Step[] = [];
  let changes = 0;
  const ended = () => isRunEnded(store.runs.find(runId)?.status ?? "completed");
  for (; !ended(); changes += 1) {
    expect(changes, "the run goes on and on").toBeLessThan(20_000);
    for (const step of plane.published()) {
      seen.set(step.id, (seen.get(step.id) ?? 0) + 1);
      jobs.set(step.id, step);
    }
    const death = drawDeath(draw);
    const ids = [...jobs.keys()];
    const due = store.progress.firstDue();
    const chance = draw(199);
    if (chance < 1) {
      await plane.cancel(runId, death);
      continue;
    }
    const again = reported[draw(Math.max(0, reported.length - 1))];
    if (chance < 10 && again !== undefined) {
      await plane.report(again, { output: {} }, death);
      continue;
    }
    if (ids.length === 0 || (due !== null && chance < 40)) {
      expect(due, "the run waits for nothing, and has not ended").not.toBeNull();
      plane.now = Math.max(plane.now, due ?? 0);
      await plane.tick(death);
      continue;
    }
    const id = ids[draw(ids.length - 1)] ?? "";
    const step = store.steps.find(id);
    if (step === undefined || isStepEnded(step.status)) {
      jobs.delete(id);
      continue;
    }
    await act(plane, step, draw, death);
    const after = store.steps.find(id);
    if (after === undefined || isStepEnded(after.status)) {
      jobs.delete(id);
      reported.push(step);
    }
  }
  return changes;
}

/** What a worker may do next with a step, or a person with its question. */
async function act(plane: WorkflowPlane, step: Step, draw: Draw, death: Death): Promise<void> {
  const [asked] = plane.store.approvals.ofStep(step.id);
  if (asked?.status === "pending") {
    await plane.answer(asked.id, draw(3) > 0, death);
  } else if (asked?.status === "rejected" || asked?.status === "expired") {
    const failure = terminal("approval_rejected", "a person said no");
    await plane.report(step, { failure }, death);
  } else if (plane.stops.includes(step.id)) {
    await plane.report(step, { failure: terminal("cancelled", "told to stop") }, death);
  } else if (asked === undefined && draw(5) === 0) {
    await plane.ask(step, death);
  } else if (draw(6) === 0) {
    await plane.report(step, { failure: drawFailure(draw) }, death);
  } else {
    await plane.report(step, { output: { done: draw(3) === 0 } }, death);
  }
}

it("a control plane that dies before or after any change, however little there is room for in one, runs random workflows as the plainest scheduler does, and starts each attempt once [workflow.host]", async () => {
  const ends: Record<string, number> = {};
  await fc.assert(
    fc.asyncProperty(fc.gen(), async (gen) => {
      const draw = drawFrom(gen);
      const definition = drawWorkflow(draw);
      // Of one step each, of some, or as long as they usually may be.
      const plane = newPlane([1, 3_000, undefined][draw(2)]);
      const x = [[1, 2, 3], [], [0], false][draw(5)] ?? [1, 2];
      const runId = await plane.begin(definition, { x });
      await walk(plane, runId, draw);
      const run = plane.store.runs.find(runId);
      expect(run?.status === "failed" || run?.error === null).toBe(true);
      const plain = new PlainScheduler(definition);
      for (const turn of plane.turns) {
        const names = turn.run.steps();
        for (const event of turn.events as unknown as WorkflowEvent[]) {
          const at =
            event.type === "timer.fired" ? event.timer.step : "step" in event ? event.step : -1;
          plain.take(names[at]?.path ?? "", event);
        }
      }
      const own = Object.fromEntries(
        plane.steps(runId).map(({ path, status, reason, attempt }) => {
          return [path, `${status}${reason === null ? "" : ` (${reason})`} ${attempt}`];
        }),
      );
      expect({ phase: run?.status, steps: own }).toEqual(plain.state());
      // Each attempt that was started is one step, with one job; and nothing is left of the run but how it ended.
      const steps = plane.store.steps.after(runId, -1);
      const attempts = steps.map(({ workflow }) => `${workflow?.step} ${workflow?.attempt}`);
      expect(new Set(attempts).size).toBe(attempts.length);
      const started = plane.turns.flatMap(({ starts }) =>
        starts.map((one) => `${one.step} ${one.attempt}`),
      );
      expect(attempts.sort()).toEqual(started.sort());
      expect(plane.store.progress.firstDue()).toBeNull();
      expect(plane.store.progress.events(runId)).toEqual([]);
      ends[run?.status ?? ""] = (ends[run?.status ?? ""] ?? 0) + 1;
      planes.splice(0).forEach((one) => one.close());
    }),
    { numRuns: 150, endOnFailure: true },
  );
  for (const end of ["completed", "failed", "cancelled"])
    expect(ends[end] ?? 0, end).toBeGreaterThan(0);
}, 300_000);

const tool = (id: string, more: object = {}) =>
  ({
    id,
    type: "tool",
    config: { tool_name: "t" },
    ...more,
  }) as WorkflowDefinition["steps"][number];

it("a step whose time is over is told to stop, and tried again only when it has [workflow.stops]", async () => {
  const plane = newPlane();
  const retry = { max_attempts: 2, delay_ms: 100 };
  // A denial or a time-out are the step's own: only what it asked for may be tried again.
  const runId = await plane.begin(
    { id: "w", name: "W", steps: [tool("slow", { timeout_ms: 1_000, retry }), tool("other")] },
    {},
  );
  const [slow, other] = plane.published() as [Step, Step];
  plane.now += 1_000;
  await plane.tick();
  expect(plane.stops).toEqual([slow.id]);
  expect(plane.published()).toEqual([]);
  plane.now += 10_000;
  await plane.tick();
  expect(plane.published()).toEqual([]);
  await plane.report(slow, { failure: terminal("cancelled", "told to stop") });
  plane.now += 100;
  await plane.tick();
  const [second] = plane.published();
  expect(second?.workflow).toMatchObject({ step: 0, attempt: 2 });
  await plane.report(second as Step, { output: { fine: 1 } });
  await plane.report(other, { output: { fine: 2 } });
  expect(plane.store.runs.find(runId)).toMatchObject({
    status: "completed",
    output: { slow: { fine: 1 }, other: { fine: 2 } },
  });
});

it("a worker that never says that it stopped is not waited for for ever [workflow.stops]", async () => {
  const plane = newPlane();
  const runId = await plane.begin(
    {
      id: "w",
      name: "W",
      on_error: "continue",
      steps: [tool("slow", { timeout_ms: 1_000 }), tool("b")],
    },
    {},
  );
  const [slow, b] = plane.published() as [Step, Step];
  plane.now += 1_000;
  await plane.tick();
  await plane.report(b, { output: 1 });
  expect(plane.store.runs.find(runId)?.status).toBe("running");
  plane.now += 60_000;
  await plane.tick();
  expect(plane.steps(runId).map(({ status }) => status)).toEqual(["failed", "completed"]);
  expect(plane.store.steps.find(slow.id)?.status).toBe("skipped");
  expect(plane.store.runs.find(runId)?.status).toBe("completed");
});

it("a run that fails or is cancelled ends at once, with its questions, and takes no report afterwards [workflow.ends]", async () => {
  const plane = newPlane();
  const steps = [tool("a"), tool("b"), tool("c", { depends_on: ["a"] })];
  const failing = await plane.begin({ id: "w", name: "W", steps }, {});
  const [a, b] = plane.published() as [Step, Step];
  const question = await plane.ask(b);
  expect(plane.store.runs.find(failing)?.status).toBe("waiting_approval");
  await plane.report(a, { failure: terminal("tool_failed", "no disk") });
  expect(plane.store.runs.find(failing)).toMatchObject({
    status: "failed",
    statusReason: 'step "a" failed: no disk',
    error: { kind: "tool_failed", details: { failed_step: "a" } },
  });
  expect(plane.store.approvals.ofStep(b.id)[0]?.status).toBe("expired");
  expect(question).not.toBeNull();
  await plane.report(b, { output: 1 });
  expect(plane.store.runs.find(failing)?.status).toBe("failed");
  const cancelled = await plane.begin({ id: "w", name: "W", steps }, {});
  await plane.cancel(cancelled);
  expect(plane.store.runs.find(cancelled)?.status).toBe("cancelled");
  expect(plane.steps(cancelled).map(({ status }) => status)).toEqual([
    "cancelled",
    "cancelled",
    "cancelled",
  ]);
});

it("the items of a list, and the steps of each, are put on the stream in their order [workflow.host]", async () => {
  const plane = newPlane();
  const inner = [tool("a"), tool("b", { depends_on: [] })];
  const config = { for_each: "$.input.items", max_concurrency: 3, steps: inner };
  const steps = [{ id: "all", name: "all", type: "parallel" as const, config }];
  await plane.begin({ id: "w", name: "W", steps }, { items: [1, 2, 3, 4, 5] });
  const first = plane.published();
  const paths = (...items: number[]) => items.flatMap((at) => [`all[${at}]/a`, `all[${at}]/b`]);
  expect(first.map(({ name }) => name)).toEqual(paths(0, 1, 2));
  for (const step of first) await plane.report(step, { output: {} });
  expect(plane.published().map(({ name }) => name)).toEqual(paths(3, 4, 5).slice(0, 4));
});

it("a run that is cancelled with very many questions ends at once, and they page by page, whenever its process dies [workflow.ends]", async () => {
  const plane = newPlane();
  const loops = ["a", "b"].map((id) => ({
    id,
    name: id,
    type: "parallel" as const,
    config: { for_each: "$.input.items", max_concurrency: 1_000, steps: [tool(`${id}1`)] },
  }));
  const items = Array.from({ length: 250 }, (_, at) => at);
  const runId = await plane.begin({ id: "w", name: "W", steps: loops }, { items });
  const asked: Step[] = [];
  for (let steps = plane.published(); steps.length > 0; steps = plane.published()) {
    for (const step of steps) await plane.ask(step);
    asked.push(...steps);
  }
  const ids = asked.map(({ id }) => id).sort();
  expect(ids).toHaveLength(500);
  const status = (approval: string) => plane.store.approvals.find(approval)?.status;
  const open = () => plane.store.approvals.pendingOfRun(runId).length;
  await plane.cancel(runId);
  expect(plane.store.runs.find(runId)?.status).toBe("cancelled");
  expect(open()).toBe(300);
  const [late] = plane.store.approvals.pendingOfRun(runId, 1);
  await expect(plane.answer(late?.id ?? "", true)).rejects.toMatchObject({ status: 400 });
  expect(status(late?.id ?? "")).toBe("pending");
  const again: Step[] = [];
  for (let turns = 0; plane.store.progress.firstDue() !== null; turns += 1) {
    expect(turns).toBeLessThan(20);
    await plane.tick((["none", "before", "after"] as const)[turns % 3]);
    const woken = plane.published();
    expect(woken.length).toBeLessThanOrEqual(200);
    again.push(...woken);
  }
  expect(open()).toBe(0);
  expect(again.map(({ id }) => id).sort()).toEqual(ids);
  const shown = new Set(plane.steps(runId).map((step) => step.status));
  expect(shown).toEqual(new Set(["cancelled"]));
});

it("what a change of a run reads and writes is counted, each value read once, and ends far beyond what is usual [workflow.turns]", () => {
  const value = "x".repeat(1_000_000);
  const reads: number[] = [];
  const tables = {
    value: (_: string, __: string, step: number) => (
      reads.push(step),
      { value, length: 1_000_002 }
    ),
    putValue: () => 1_000_002,
  };
  let spent = 0;
  const values = openValues(tables, "run", 2_500_000, (characters) => (spent += characters));
  for (const step of [1, 1, 2, 1, 2]) values.read("output", step);
  expect([reads, values.isFull()]).toEqual([[1, 2], false]);
  values.keep("output", 3, value);
  values.read("output", 3);
  expect([reads, values.isFull(), spent]).toEqual([[1, 2], true, 3_000_006]);
  const put = () => Array.from({ length: 70 }, (_, step) => values.read("items", step));
  expect(put).toThrow(/bring together is longer than 67108864 characters/u);
});
