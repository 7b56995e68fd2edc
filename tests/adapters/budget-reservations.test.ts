import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { value } from "../support/value.ts";

const { signal } = new AbortController();
let plane: TestPlane;
beforeEach(async () => {
  plane = await startTestPlane();
});
afterEach(() => plane.close());

it("a run's budget is never passed, with many workers at once [budget.atomic]", async () => {
  const { budgets } = plane.worker;
  if (budgets === undefined) throw new Error("the client keeps no budgets");
  const call = fc.record({
    most: fc.integer({ min: 1, max: 400 }),
    /** What is used of what was reserved, in percent. */
    share: fc.integer({ min: 0, max: 100 }),
    settles: fc.boolean(),
    pause: fc.nat(3),
  });
  const workers = fc.array(fc.array(call, { minLength: 1, maxLength: 5 }), {
    minLength: 2,
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(workers, fc.integer({ min: 100, max: 2_000 }), async (all, limit) => {
      const key = await plane.createRun({ task: "x" }, { budget: { max_cost_micros: limit } });
      let spent = 0;
      let refused = 0;
      await Promise.all(
        all.map(async (calls, at) => {
          for (const [number, { most: costMicros, share, settles, pause }] of calls.entries()) {
            const id = `${at}/${number}`;
            const asked = { ...key, id, inputTokens: 1, outputTokens: 1 };
            const granted = await budgets.reserve({ ...asked, costMicros }, signal);
            // Asked twice, as after an answer that was lost, it is granted once.
            await budgets.reserve({ ...asked, costMicros }, signal);
            if (!granted.ok) {
              expect(granted.failure.kind).toBe("budget_exceeded");
              refused += 1;
              continue;
            }
            await sleep(pause);
            const cost = Math.floor((costMicros * share) / 100);
            spent += cost;
            const settled = { ...asked, costMicros: cost };
            if (settles) value(await budgets.settle(settled, signal));
          }
        }),
      );
      expect(spent).toBeLessThanOrEqual(limit);
      const wanted = all.flat().reduce((sum, each) => sum + each.most, 0);
      if (wanted > limit * 3) expect(refused).toBeGreaterThan(0);
    }),
    { numRuns: 12 },
  );
});

it("a run's wall time stands still while its step waits for a provider, an hour at most each time [budget.held]", async () => {
  const { budgets } = plane.worker;
  const ms = (most: number) => fc.integer({ min: 0, max: most });
  const stretch = fc.record({ work: ms(100_000), wait: ms(2 * 3_600_000), isHeld: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(stretch, { maxLength: 6 }), async (stretches) => {
      const key = await plane.createRun({ task: "x" }, { budget: { max_wall_time_ms: 250_000 } });
      const asked = { ...key, inputTokens: 1, outputTokens: 1, costMicros: 0 };
      let used = 0;
      for (const [at, { work, wait, isHeld }] of stretches.entries()) {
        const id = `r${at}`;
        const granted = await budgets?.reserve({ ...asked, id }, signal);
        expect(granted?.ok).toBe(used <= 250_000);
        if (granted?.ok !== true) return;
        plane.clock.now += work;
        const untried = isHeld ? { untried: true as const } : {};
        expect(await budgets?.settle({ ...asked, id, ...untried }, signal)).toMatchObject({
          ok: true,
        });
        // Said twice, as after an answer that was lost, it begins once.
        await budgets?.settle({ ...asked, id, ...untried }, signal);
        plane.clock.now += wait;
        used += work + (isHeld ? Math.max(wait - 3_600_000, 0) : wait);
      }
      const granted = await budgets?.reserve({ ...asked, id: "last" }, signal);
      expect(granted?.ok).toBe(used <= 250_000);
    }),
    { numRuns: 60 },
  );
});

it("nothing is reserved for a run or a step that has ended", async () => {
  const { budgets } = plane.worker;
  const key = await plane.createRun();
  const asked = { ...key, id: "r1", inputTokens: 1, outputTokens: 1, costMicros: 1 };
  value(await plane.api.cancel(key.runId, signal));
  expect(await budgets?.reserve(asked, signal)).toMatchObject({
    ok: false,
    failure: { kind: "cancelled" },
  });
  // What was never reserved changes nothing.
  expect(await budgets?.settle(asked, signal)).toMatchObject({ ok: true });
});

it("what one worker never settled counts for all others, until its step ends", async () => {
  const { budgets } = plane.worker;
  const key = await plane.createRun({ task: "x" }, { budget: { max_cost_micros: 100 } });
  const asked = { ...key, inputTokens: 1, outputTokens: 1 };
  const reserve = (id: string, costMicros: number) =>
    budgets?.reserve({ ...asked, id, costMicros }, signal);
  expect(await reserve("lost", 60)).toMatchObject({ ok: true });
  expect(await reserve("next", 50)).toMatchObject({
    ok: false,
    failure: { kind: "budget_exceeded", details: { used: 110, most: 100 } },
  });
  await plane.report(key, { status: "failed", error: { kind: "internal", message: "x" } });
  expect(value(await plane.api.run(key.runId, signal)).cost_micros).toBe(60);
});

it("a cancelled run counts what its calls used, those under way too, and once [budget.ended]", async () => {
  const { budgets } = plane.worker;
  const call = fc.record({
    used: fc.integer({ min: 0, max: 100 }),
    /** When the call is settled: before the run ends, before or after its worker lets go, or never. */
    when: fc.constantFrom("before", "ended", "after", "never"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 6 }), async (calls) => {
      const key = await plane.createRun({ task: "x" });
      const numbered = calls.map((each, at) => ({ ...each, id: `r${at}` }));
      const asked = { ...key, inputTokens: 100, outputTokens: 100, costMicros: 100 };
      for (const { id } of numbered) await budgets?.reserve({ ...asked, id }, signal);
      const settle = async (now: string) => {
        for (const { id, used, when } of numbered) {
          if (when !== now) continue;
          const all = { inputTokens: used, outputTokens: used, costMicros: used };
          await budgets?.settle({ ...key, id, ...all }, signal);
          // Said twice, as after an answer that was lost, it counts once.
          await budgets?.settle({ ...key, id, ...all }, signal);
        }
      };
      await settle("before");
      value(await plane.api.cancel(key.runId, signal));
      await settle("ended");
      const failure = { kind: "cancelled", message: "x" };
      await plane.report(key, { status: "failed", error: failure });
      await settle("after");
      const used = numbered.reduce(
        (sum, each) => sum + (each.when === "never" ? 100 : each.used),
        0,
      );
      const counted = { input_tokens: used, output_tokens: used, cost_micros: used };
      expect(value(await plane.api.run(key.runId, signal))).toMatchObject(counted);
      const [step] = value(await plane.api.steps(key.runId, signal));
      expect(step?.status).toBe("skipped");
      if (calls.length > 0) expect(step).toMatchObject(counted);
    }),
    { numRuns: 40 },
  );
});
