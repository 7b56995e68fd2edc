import * as fc from "fast-check";
import { initialTransition, transition } from "xstate";
import { expect, it } from "vitest";
import { workflowProblems } from "../../machines/contracts/domain/workflow-problems.ts";
import { readExpression } from "../../adapters/workflows/expressions.ts";
import { compile } from "../../machines/compile.ts";
import { outstanding } from "../../machines/workflow/advance.ts";
import { stepPath, type WorkflowContext } from "../../machines/workflow/context.ts";
import type { Attempt, Timer, WorkflowEvent } from "../../machines/workflow/events.ts";
import { workflowActivities, workflowMachine } from "../../machines/workflow/machine.ts";
import { type Plan, planWorkflow } from "../../machines/workflow/plan.ts";
import { restoreRun, saveRun, type WorkflowSnapshot } from "../../machines/workflow/saved.ts";
import { itemAt } from "../../machines/workflow/table.ts";
import { PlainScheduler } from "../support/plain-scheduler.ts";
import { drawFailure, drawFrom, type Draw, drawWorkflow } from "../support/random-workflow.ts";

const compiled = compile(workflowMachine);

/** What the run has asked for and nobody has answered. */
type Asked = ({ kind: "decide" | "start" | "cancel" } & Attempt) | { kind: "timer"; timer: Timer };

const keyOf = (asked: Asked): string =>
  asked.kind === "timer"
    ? `timer ${asked.timer.kind} ${asked.timer.step} ${asked.timer.attempt} ${asked.timer.serial}`
    : `${asked.kind} ${asked.step} ${asked.attempt}`;

function askedBy({ decide, start, cancel, timers }: WorkflowContext["commands"]): Asked[] {
  return [
    ...decide.map((one): Asked => ({ kind: "decide", ...one })),
    ...start.map((one): Asked => ({ kind: "start", ...one })),
    ...cancel.map((one): Asked => ({ kind: "cancel", ...one })),
    ...timers.map(({ afterMs: _, ...timer }): Asked => ({ kind: "timer", timer })),
  ];
}

/** One of the ways in which what was asked for may be answered. */
function answer(asked: Asked, draw: Draw): WorkflowEvent {
  if (asked.kind === "timer") return { type: "timer.fired", timer: asked.timer };
  const { step, attempt } = asked;
  const at = { step, attempt };
  if (asked.kind === "decide") {
    const decision = { runs: draw(4) > 0, items: draw(4), holds: draw(1) === 0 };
    if (draw(20) === 0) return { type: "step.failed", ...at, failure: drawFailure(draw) };
    return { type: "step.decided", ...at, decision };
  }
  if (asked.kind === "cancel" && draw(2) > 0) return { type: "step.cancelled", ...at };
  const chance = draw(19);
  if (chance < 3) return { type: "approval.requested", ...at };
  if (chance < 6) return { type: "approval.granted", ...at };
  if (chance < 7) return { type: draw(1) === 0 ? "approval.rejected" : "approval.expired", ...at };
  if (chance < 8) return { type: "step.failed", ...at, failure: drawFailure(draw) };
  if (chance < 9 && draw(4) === 0) return { type: "step.cancelled", ...at };
  return { type: "step.completed", ...at, isDone: draw(3) === 0 };
}

function stateOf({ context }: WorkflowSnapshot) {
  const steps: Record<string, string> = {};
  for (let step = 0; step < context.steps.size; step += 1) {
    const { status, attempt, reason } = itemAt(context.steps, step) ?? {};
    const why = reason === undefined ? "" : ` (${reason})`;
    steps[stepPath(context, step)] = `${status}${why} ${attempt}`;
  }
  return { phase: context.phase, steps };
}

const sorted = ({ phase, steps }: { phase: string; steps: Record<string, string> }): string =>
  `${phase} ${Object.entries(steps)
    .map(([path, state]) => `${path}: ${state}`)
    .sort()
    .join()}`;

const pathOf = (context: WorkflowContext, event: WorkflowEvent): string => {
  if (event.type === "cancel.requested") return "";
  return stepPath(context, event.type === "timer.fired" ? event.timer.step : event.step);
};

/** Those that the run still waits for: to forget one of them would be a fault. */
function waited(pool: readonly Asked[], snapshot: WorkflowSnapshot): Asked[] {
  const known = new Set(askedBy(outstanding(snapshot.context)).map(keyOf));
  return pool.filter((asked) => known.has(keyOf(asked)));
}

function walk(plan: Plan, plain: PlainScheduler, draw: Draw): WorkflowEvent[] {
  let [snapshot] = initialTransition(compiled, { plan });
  const log: WorkflowEvent[] = [];
  let pool = askedBy(snapshot.context.commands);
  const stale: Asked[] = [];
  while (snapshot.status === "active") {
    if (draw(9) === 0) {
      // The process dies. Another one reads what was kept, and asks for what is outstanding.
      const restored = restoreRun(plan, JSON.parse(JSON.stringify(saveRun(snapshot))));
      if (!restored.ok) throw new Error(restored.failure.message);
      snapshot = restored.value;
      const again = askedBy(outstanding(snapshot.context));
      const kept = waited(pool, snapshot);
      expect(kept.map(keyOf).sort()).toEqual(again.map(keyOf).sort());
      pool = again;
    }
    const chance = draw(399);
    const repeated = log[draw(Math.max(0, log.length - 1))];
    let event: WorkflowEvent;
    if (chance < 1) event = { type: "cancel.requested" };
    else if (chance < 60 && repeated !== undefined) event = repeated;
    else {
      expect(pool.length, "the run waits for nothing, and has not ended").toBeGreaterThan(0);
      const asked = pool[draw(pool.length - 1)] as Asked;
      event = answer(asked, draw);
    }
    plain.take(pathOf(snapshot.context, event), event);
    log.push(event);
    [snapshot] = transition(compiled, snapshot, event);
    const all = pool.concat(askedBy(snapshot.context.commands));
    pool = waited(all, snapshot);
    stale.push(...all.filter((asked) => asked.kind === "timer" && !pool.includes(asked)));
    const old = draw(3) === 0 ? stale[draw(Math.max(0, stale.length - 1))] : undefined;
    if (old?.kind === "timer" && snapshot.status === "active") {
      // A timer that nobody waits for any more: set before a person was asked, or for an attempt that is over.
      const [after] = transition(compiled, snapshot, { type: "timer.fired", timer: old.timer });
      expect(saveRun(after)).toEqual(saveRun(snapshot));
    }
    const [own, other] = [stateOf(snapshot), plain.state()];
    if (sorted(own) !== sorted(other)) expect(own).toEqual(other);
  }
  expect(snapshot.value).toBe(snapshot.context.phase);
  expect(snapshot.context.asking).toBe(0);
  return log;
}

it("a run ends as by the plainest scheduler, over 1,000 random workflows with failures, skips, crashes and duplicates [workflow.scheduler]", () => {
  const ends: Record<string, number> = {};
  fc.assert(
    fc.property(fc.gen(), (gen) => {
      const draw = drawFrom(gen);
      const definition = drawWorkflow(draw);
      expect(workflowProblems(definition as never, readExpression)).toEqual([]);
      const plan = planWorkflow(definition);
      const plain = new PlainScheduler(definition);
      const log = walk(plan, plain, draw);
      const { phase } = plain.state();
      ends[phase] = (ends[phase] ?? 0) + 1;
      // The run is its events: folded once more, by XState's interpreter, they give the same.
      let [folded] = initialTransition(workflowMachine, { plan });
      for (const event of log) [folded] = transition(workflowMachine, folded, event);
      let [same] = initialTransition(compiled, { plan });
      for (const event of log) [same] = transition(compiled, same, event);
      expect(saveRun(folded)).toEqual(saveRun(same));
      expect(stateOf(folded)).toEqual(plain.state());
    }),
    { numRuns: 1_000, endOnFailure: true },
  );
  expect(
    Math.min(...["completed", "failed", "cancelled"].map((end) => ends[end] ?? 0)),
  ).toBeGreaterThan(0);
}, 300_000);

/** Milliseconds of CPU that a run of so many parallel steps takes for each of them. */
function costOf(count: number): number {
  const step = (id: string) => ({ id, type: "tool", config: { tool_name: "t" } }) as const;
  const steps = Array.from({ length: count }, (_, at) => step(`s${at}`));
  const all = { ...step("all"), depends_on: steps.map(({ id }) => id) };
  const plan = planWorkflow({ id: "w", name: "W", steps: [...steps, all] });
  const begun = process.cpuUsage();
  let [snapshot] = initialTransition(compiled, { plan });
  let waiting = snapshot.context.commands.start;
  while (snapshot.status === "active") {
    const next: Attempt[] = [];
    for (const at of waiting) {
      [snapshot] = transition(compiled, snapshot, { type: "step.completed", ...at });
      next.push(...snapshot.context.commands.start);
    }
    waiting = next;
  }
  expect(snapshot.value).toBe("completed");
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1_000 / count;
}

it("a step costs the same in a run of 4,000 parallel steps as in one of 250, and under a millisecond [workflow.flat]", () => {
  costOf(1_000);
  const [small, large] = [250, 4_000].map((count) =>
    Math.min(...[1, 2, 3].map(() => costOf(count))),
  ) as [number, number];
  expect(large).toBeLessThan(1);
  expect(large, `${small} ms a step of 250`).toBeLessThan(small * 4);
});

it("is the same run by XState's interpreter and compiled, and every state answers every event", () => {
  const plan = planWorkflow({ id: "w", name: "W", steps: [{ id: "a", type: "llm" }] });
  const [begun, first] = initialTransition(compiled, { plan });
  expect(first.map(({ type }) => type)).toEqual([...workflowActivities]);
  expect(begun.context.commands.start).toEqual([{ step: 0, attempt: 1 }]);
  const [stopping] = transition(compiled, begun, { type: "cancel.requested" });
  expect(stopping.value).toBe("stopping");
  expect(stopping.context.commands.cancel).toEqual([{ step: 0, attempt: 1 }]);
  const [late] = transition(compiled, stopping, { type: "cancel.requested" });
  expect(late.context.commands.cancel).toEqual([]);
  const [ended, last] = transition(compiled, late, { type: "step.cancelled", step: 0, attempt: 1 });
  expect(ended).toMatchObject({ value: "cancelled", status: "done" });
  expect(last.map(({ type }) => type)).toContain("endRun");
});

it("a run is refused where its layout or its definition is another [workflow.saved]", () => {
  const make = (...ids: string[]) =>
    planWorkflow({ id: "w", name: "W", steps: ids.map((id) => ({ id, type: "llm" })) });
  const [snapshot] = initialTransition(compiled, { plan: make("a", "b") });
  const saved = saveRun(snapshot);
  const kind = (plan: Plan, one: unknown) => {
    const read = restoreRun(plan, one);
    return read.ok ? "taken" : read.failure.kind;
  };
  expect(kind(make("a", "b"), JSON.parse(JSON.stringify(saved)))).toBe("taken");
  expect(kind(make("a", "b", "c"), saved)).toBe("conflict");
  expect(kind(make("a", "b"), { ...saved, layout: 2 })).toBe("corrupt_record");
  expect(kind(make("a", "b"), null)).toBe("corrupt_record");
});
