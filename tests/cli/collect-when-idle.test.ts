import { afterEach, describe, expect, it, vi } from "vitest";
import { collectWhenIdle } from "../../cli/collect-when-idle.ts";

afterEach(() => void vi.useRealTimers());

/**
 * Half a second each: how many steps are alive when it is looked, and how many began and ended since the look before.
 * Returns after which looks it was collected.
 */
function collectedAt(looks: readonly number[], between: readonly number[] = []): number[] {
  vi.useFakeTimers();
  const collected: number[] = [];
  let look = 0;
  let taken = 0;
  const stop = collectWhenIdle(
    () => {
      const running = looks[look] ?? 0;
      taken += running + (between[look] ?? 0);
      return { running, taken };
    },
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

  it("is kept while steps come now and then, though each is over before anybody looks", () => {
    const none = [0, 0, 0, 0, 0, 0, 0, 0];
    expect(collectedAt(none, [40, 40, 0, 1, 40, 0, 0, 1])).toEqual([]);
    expect(collectedAt(none, [40, 40, 0, 0, 0, 40])).toEqual([4]);
  });

  it("is given back by a collection that runs in this process", async () => {
    const used = Array.from({ length: 64 }, () => Buffer.alloc(64 * 1_024).toString("hex"));
    const before = process.memoryUsage().heapUsed;
    used.length = 0;
    const stop = collectWhenIdle(() => ({ running: 0, taken: 0 }));
    await vi.waitFor(() => expect(process.memoryUsage().heapUsed).toBeLessThan(before - 4e6), {
      timeout: 20_000,
      interval: 200,
    });
    stop();
  });
});
