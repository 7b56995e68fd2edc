import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Bulkheads } from "../../actors/step/execute.ts";

describe("a bulkhead", () => {
  it("never lets in more than its limit, in the order they came, whoever gives up [bulkhead.limit]", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.integer({ min: 1, max: 3 }),
        fc.array(fc.record({ givesUp: fc.boolean() }), { minLength: 1, maxLength: 8 }),
        async (scheduler, limit, visitors) => {
          const bulkheads = new Bulkheads({ tool: limit });
          const entered: number[] = [];
          let inside = 0;
          let most = 0;
          const controllers = visitors.map(() => new AbortController());
          const visits = visitors.map(async (_, number) => {
            const { signal } = controllers[number] ?? new AbortController();
            let leave: () => void;
            try {
              leave = await bulkheads.enter("tool", signal);
            } catch {
              return "gave up";
            }
            entered.push(number);
            inside += 1;
            most = Math.max(most, inside);
            await scheduler.schedule(Promise.resolve(), `work of ${number}`);
            inside -= 1;
            leave();
            return "done";
          });
          for (const [number, { givesUp }] of visitors.entries()) {
            const abort = () => controllers[number]?.abort();
            if (givesUp) void scheduler.schedule(Promise.resolve(), `abort ${number}`).then(abort);
          }
          await scheduler.waitIdle();
          const outcomes = await Promise.all(visits);
          expect(most).toBeLessThanOrEqual(limit);
          expect(entered).toEqual(entered.toSorted((one, other) => one - other));
          for (const [number, { givesUp }] of visitors.entries()) {
            if (!givesUp) expect(outcomes[number]).toBe("done");
          }
          // Nobody left a place behind: as many as before may enter at once.
          const free = Array.from({ length: limit }, () =>
            bulkheads.enter("tool", new AbortController().signal),
          );
          await expect(Promise.all(free)).resolves.toHaveLength(limit);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("does not hold a type it has no limit for, and turns away who comes aborted", async () => {
    const bulkheads = new Bulkheads({ tool: 1 });
    const { signal } = new AbortController();
    await Promise.all(Array.from({ length: 50 }, () => bulkheads.enter("llm", signal)));
    await expect(bulkheads.enter("tool", AbortSignal.abort(new Error("late")))).rejects.toThrow(
      "late",
    );
    await bulkheads.enter("tool", signal);
  });
});
