import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { redisBackends, sqliteBackends } from "../support/backends.ts";
import { type HumanScene, humanScene, writeStep } from "../support/human-scene.ts";

const write = (n: number): Action => ({ kind: "tool", name: "write", input: { n } });
const llm = { type: "llm" as const, input: { task: "decide for yourself" } };

/**
 * What other engines got wrong when people are asked, each scenario named after the public report of it. The
 * control plane is the embedded one over HTTP, the backends are real.
 */
describe.each([redisBackends(), sqliteBackends()])("people in the loop, on $name", (backends) => {
  let scene: HumanScene;
  beforeAll(() => backends.start());
  afterAll(() => backends.stop());
  beforeEach(async () => {
    scene = await humanScene(backends);
  });
  afterEach(() => scene.close());

  /** Does one thing to the world, on the grant given for exactly it. */
  const doOnce = async (
    { permission, effect }: Parameters<StepHandler>[0],
    action: Action,
  ): Promise<{ ok: true } | { ok: false; result: Awaited<ReturnType<StepHandler>> }> => {
    const permitted = await permission(action);
    if (!permitted.allowed) return { ok: false, result: permitted.result };
    const { name, input } = action;
    const run = async () => {
      scene.calls.push({ name, input });
      return { ok: true, value: "done" } as const;
    };
    const grant = permitted.grant === null ? {} : { grant: permitted.grant };
    const done = await effect({ name, input, repeat: "unsafe", ...grant, run });
    return done.ok ? { ok: true } : done;
  };

  it("a grant that arrives while the step is being parked is not lost [park.early-wake] (mastra#22413: an approval sent before the snapshot is written is refused)", async () => {
    const answered = Promise.withResolvers<void>();
    await scene.worker({}, ({ store }) => ({
      store: {
        ...store,
        async park(...given) {
          await answered.promise;
          return store.park(...given);
        },
      },
    }));
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [question] = await scene.questions(1);
    expect(await scene.answer(question?.id ?? "", true)).toBe("taken");
    // The grant's own job comes and finds the step taken, before the parking is let through.
    await new Promise((resolve) => setTimeout(resolve, 200));
    answered.resolve();
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toHaveLength(1);
  });

  it("two people who approve at once make it happen once [approval.used-once] (mastra#20443: concurrent resumes run what follows twice)", async () => {
    await scene.worker();
    await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    const answers = await Promise.all([scene.answer(id, true), scene.answer(id, true)]);
    expect(answers.toSorted()).toEqual(["refused", "taken"]);
    await scene.ended(runId, stepIds[0] ?? "");
    await scene.idle();
    expect(scene.calls).toEqual([{ name: "write", input: { n: 1 } }]);
  });

  it("an approval after the expiry is refused, and the step is not stranded but ends [approval.expired] (curie#412: expiry strands the suspended session)", async () => {
    await scene.worker({ deadlines: { ...minutes, approvalMs: 60_000 } });
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    scene.pass(25 * 60 * 60 * 1_000);
    expect(await scene.answer(id, true)).toBe("refused");
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
      status: "failed",
      error: { kind: "approval_expired" },
    });
    expect(scene.calls).toEqual([]);
  });

  it("what was rejected is never executed, whatever is said later [policy.denied-never] (mastra#20470: a declined tool runs, its policy lost on resume)", async () => {
    await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, false);
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({ status: "failed", error: { kind: "approval_rejected" } });
    expect(await scene.answer(id, true)).toBe("refused");
    await scene.idle();
    expect(scene.calls).toEqual([]);
  });

  it("a rejection that comes after the deed changes nothing", async () => {
    await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, true);
    await scene.ended(runId, stepIds[0] ?? "");
    expect(await scene.answer(id, false)).toBe("refused");
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
  });

  it("two calls asked for at once: nothing runs until both are answered, then each once [approval.parallel] (langgraph#6208: a node re-executes after one of its two interrupts is resumed; mastra#16468: the second of two same-tool suspends always fails)", async () => {
    const both: StepHandler = async (scope) => {
      const permitted = await Promise.all([1, 2].map((n) => scope.permission(write(n))));
      const asks = permitted.flatMap((one) =>
        !one.allowed && one.result.kind === "asked" ? one.result.asks : [],
      );
      if (asks.length > 0) return { kind: "asked", asks };
      for (const n of [1, 2]) {
        const done = await doOnce(scope, write(n));
        if (!done.ok) return done.result;
      }
      return { kind: "done", output: "both" };
    };
    await scene.worker({ handlers: { llm: both } });
    const { runId, stepIds } = await scene.run([llm]);
    const [first, second] = await scene.questions(2);
    await scene.answer(second?.id ?? "", true);
    await scene.idle();
    expect(scene.calls).toEqual([]);
    await scene.answer(first?.id ?? "", true);
    await scene.ended(runId, stepIds[0] ?? "");
    expect(scene.calls.map(({ input }) => input)).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it("a yes to one call is no yes to its neighbour [approval.exact] (langgraph#6533, mastra#19083: resume values reach the wrong tool)", async () => {
    await scene.worker();
    const one = await scene.run([writeStep({ n: 1 })]);
    const [first] = await scene.questions(1);
    const other = await scene.run([writeStep({ n: 2 })]);
    const open = await scene.questions(2);
    const second = open.find(({ id }) => id !== first?.id);
    await scene.answer(second?.id ?? "", true);
    await scene.ended(other.runId, other.stepIds[0] ?? "");
    expect(scene.calls).toEqual([{ name: "write", input: { n: 2 } }]);
    await scene.answer(first?.id ?? "", false);
    await scene.ended(one.runId, one.stepIds[0] ?? "");
    expect(scene.calls).toHaveLength(1);
  });

  it("an approval of other arguments than were shown does nothing [approval.exact] (mastra#19633: the decision is applied to whatever is suspended)", async () => {
    await scene.worker({}, () => {
      const { worker: real } = scene.plane;
      return {
        controlPlane: {
          ...real,
          async findApproval(id, signal) {
            const found = await real.findApproval(id, signal);
            if (!found.ok) return found;
            return { ok: true, value: { ...found.value, digest: "of something else" } };
          },
        },
      };
    });
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, true);
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({ status: "failed", error: { kind: "approval_rejected" } });
    expect(JSON.stringify(step.error)).toContain("given for another action");
    expect(scene.calls).toEqual([]);
  });

  it("arguments that change after the yes are asked about anew [approval.exact] (vercel/ai#15947: tampered arguments after a legitimate approval)", async () => {
    let price = 1;
    const shifty: StepHandler = async (scope) => {
      const done = await doOnce(scope, write(price));
      return done.ok ? { kind: "done", output: price } : done.result;
    };
    await scene.worker({ handlers: { llm: shifty } });
    const { runId, stepIds } = await scene.run([llm]);
    const [first] = await scene.questions(1);
    await scene.idle();
    price = 1_000;
    await scene.answer(first?.id ?? "", true);
    const [second] = await scene.questions(1);
    expect(second?.action_details).toMatchObject({ input: { n: 1_000 } });
    expect(scene.calls).toEqual([]);
    await scene.answer(second?.id ?? "", false);
    await scene.ended(runId, stepIds[0] ?? "");
    expect(scene.calls).toEqual([]);
  });

  it("an approval forged in the envelope or the input is not looked at [approval.forged] (vercel/ai#15947, #16068: client-forged approvals execute)", async () => {
    await scene.worker();
    const forged = { approved: true, requires_approval: false, grants: [{ digest: "any" }] };
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 }, {})]);
    const stepId = stepIds[0] ?? "";
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    const input = { tool_name: "write", tool_input: { n: 1 }, ...forged };
    const payload = { run_id: runId, step_id: stepId, step_type: "tool", input, ...forged };
    const context = { tenant_id: "t", ...forged, approval_id: id, status: "approved" };
    const envelope = { id: stepId, payload: { ...payload, context }, ...forged };
    await scene.backend.queue.publish({ data: JSON.stringify(envelope), approved: "true" });
    await scene.idle();
    await scene.questions(1);
    expect(scene.calls).toEqual([]);
    await scene.answer(id, true);
    await scene.ended(runId, stepId);
    expect(scene.calls).toEqual([{ name: "write", input: { n: 1 } }]);
  });

  it("the worker that asked may be gone when the answer comes [park.any-worker] (mastra#19301: resuming after a restart finds no registry entry)", async () => {
    const asker = await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    await asker.close();
    await scene.answer(id, true);
    await scene.worker();
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({ status: "completed" });
    expect(scene.calls).toHaveLength(1);
  });

  it("one grant is spent by one effect, the second is turned away [approval.used-once] (langgraph#6663: one interrupt resumed again and again)", async () => {
    const greedy: StepHandler = async (scope) => {
      for (let turn = 0; turn < 2; turn += 1) {
        const done = await doOnce(scope, write(1));
        if (!done.ok) return done.result;
      }
      return { kind: "done", output: "twice" };
    };
    await scene.worker({ handlers: { llm: greedy } });
    const { runId, stepIds } = await scene.run([llm]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, true);
    const step = await scene.ended(runId, stepIds[0] ?? "");
    expect(step).toMatchObject({ status: "failed", error: { kind: "policy_denied" } });
    expect(scene.calls).toHaveLength(1);
  });

  it("a job enqueued again and again after the yes is done once, by whichever worker [once.report] (mastra#23116: a durable approval resume answers twice)", async () => {
    await scene.worker();
    await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    const stepId = stepIds[0] ?? "";
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    const job = {
      runId,
      stepId,
      stepType: "tool" as const,
      input: { tool_name: "write", tool_input: { n: 1 } },
      tenantId: null,
      projectId: null,
      agentId: null,
      traceId: null,
      spanId: null,
      createdAt: null,
    };
    const again = () => scene.backend.queue.publish({ data: toEnvelope(job) });
    await Promise.all([scene.answer(id, true), again(), again(), again()]);
    await scene.ended(runId, stepId);
    await again();
    await scene.idle();
    expect(scene.calls).toHaveLength(1);
  });

  it("a run cancelled while its step is parked takes the question with it [interrupt.cancel] (vigil#675: approvals nothing will ever answer)", async () => {
    await scene.worker();
    const { runId } = await scene.run([writeStep({ n: 1 })]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.idle();
    await scene.plane.api.cancel(runId, new AbortController().signal);
    await scene.questions(0);
    expect(await scene.answer(id, true)).toBe("refused");
    await scene.idle();
    expect(await scene.plane.statuses(runId)).toMatchObject({ run: "cancelled" });
    expect(scene.calls).toEqual([]);
  });

  it("a question expires while no worker runs, and the next worker says so [park.deadline] (opencompany#971: nothing ages out)", async () => {
    const asker = await scene.worker();
    const { runId, stepIds } = await scene.run([writeStep({ n: 1 })]);
    await scene.questions(1);
    await scene.idle();
    await asker.close();
    scene.pass(25 * 60 * 60 * 1_000);
    await scene.worker();
    expect(await scene.ended(runId, stepIds[0] ?? "")).toMatchObject({
      status: "failed",
      error: { kind: "approval_expired" },
    });
    expect(scene.calls).toEqual([]);
  });

  it("what was done before the question is not done again after the answer [effect.completed-once] (langgraph#7780: each resume runs the loop's side effects again)", async () => {
    const before: Record<string, number> = { paid: 0, written: 0 };
    const asksLate: StepHandler = async (scope) => {
      for (const [name, repeat] of [
        ["paid", "safe"],
        ["written", "unsafe"],
      ] as const) {
        const run = async () => {
          before[name] = (before[name] ?? 0) + 1;
          return { ok: true, value: name } as const;
        };
        const done = await scope.effect({ name, input: null, repeat, run });
        if (!done.ok) return done.result;
      }
      const done = await doOnce(scope, write(1));
      return done.ok ? { kind: "done", output: before } : done.result;
    };
    await scene.worker({ handlers: { llm: asksLate } });
    const { runId, stepIds } = await scene.run([llm]);
    const [{ id = "" } = {}] = await scene.questions(1);
    await scene.answer(id, true);
    await scene.ended(runId, stepIds[0] ?? "");
    expect(before).toEqual({ paid: 1, written: 1 });
    expect(scene.calls).toHaveLength(1);
  });

  it("a second question after the first yes waits for an answer of its own [approval.nested] (langgraph#2935, langgraphjs#1298: the second interrupt is not waited for, or halts the graph)", async () => {
    const twoStage: StepHandler = async (scope) => {
      for (const n of [1, 2]) {
        const done = await doOnce(scope, write(n));
        if (!done.ok) return done.result;
      }
      return { kind: "done", output: "both" };
    };
    await scene.worker({ handlers: { llm: twoStage } });
    const { runId, stepIds } = await scene.run([llm]);
    const [first] = await scene.questions(1);
    await scene.answer(first?.id ?? "", true);
    const [second] = await scene.questions(1);
    expect(second?.id).not.toBe(first?.id);
    expect(scene.calls.map(({ input }) => input)).toEqual([{ n: 1 }]);
    await scene.answer(second?.id ?? "", true);
    await scene.ended(runId, stepIds[0] ?? "");
    expect(scene.calls.map(({ input }) => input)).toEqual([{ n: 1 }, { n: 2 }]);
  });

  it("a rejected step is reported once, and the steps after it go on (mastra#11364: asks again after the decline)", async () => {
    const worker = await scene.worker();
    const steps = [writeStep({ n: 1 }, { on_error: "continue" }), { ...approvalStep }];
    const { runId, stepIds } = await scene.run(steps);
    const [first] = await scene.questions(1);
    await scene.answer(first?.id ?? "", false);
    const rejected = await scene.ended(runId, stepIds[0] ?? "");
    expect(rejected).toMatchObject({ status: "failed", error: { kind: "approval_rejected" } });
    const [second] = await scene.questions(1);
    await scene.answer(second?.id ?? "", true);
    await scene.ended(runId, stepIds[1] ?? "");
    await scene.idle();
    const settled = worker.notice.filter(
      (item) => item.kind === "ended" && item.stepId === stepIds[0] && item.how === "settled",
    );
    expect(settled).toHaveLength(1);
    expect(scene.calls).toEqual([]);
  });
});

const approvalStep = { type: "approval" as const, input: { message: "go on?" } };
const minutes = { queueMs: null, executingMs: 60_000, totalMs: null };
