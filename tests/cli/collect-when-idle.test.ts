import { afterEach, describe, expect, it, vi } from "vitest";
import { collectWhenIdle } from "../../cli/collect-when-idle.ts";

afterEach(() => void vi.useRealTimers());

/** Half a second each: how many steps are alive when it is looked. Returns after which looks it was collected. */
function collectedAt(looks: readonly number[]): number[] {
  vi.useFakeTimers();
  const collected: number[] = [];
  let look = 0;
  const stop = collectWhenIdle(
    () => looks[look] ?? 0,
    () => collected.push(look),
  );
  for (look = 0; look < looks.length; look += 1) vi.advanceTimersByTime(500);
  stop();
  vi.advanceTimersByTime(60_000);
  return collected;
}

describe("the memory that a start took", () => {
  it("is given back once, when nothing has run for a moment", () => {
    expect(collectedAt([0, 0, 0, 0, 0, 0, 0])).toEqual([2]);
    expect(collectedAt([0, 0, 5, 0, 0, 0])).toEqual([5]);
  });

  it("is kept while there are steps, and when the worker has stopped", () => {
    expect(collectedAt([64, 64, 64, 64, 64])).toEqual([]);
    expect(collectedAt([0, 0])).toEqual([]);
  });

  it("is given back by a collection that runs in this process", async () => {
    const used = Array.from({ length: 64 }, () => Buffer.alloc(64 * 1_024).toString("hex"));
    const before = process.memoryUsage().heapUsed;
    used.length = 0;
    const stop = collectWhenIdle(() => 0);
    await vi.waitFor(() => expect(process.memoryUsage().heapUsed).toBeLessThan(before - 4e6), {
      timeout: 20_000,
      interval: 200,
    });
    stop();
  });
});
