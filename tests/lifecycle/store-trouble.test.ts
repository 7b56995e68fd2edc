import { randomUUID } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StoreError, type TroubleKind } from "../../machines/contracts/domain/errors.ts";
import {
  fail,
  type Failure,
  ok,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { startScene } from "../support/bare-plane.ts";

const verbs = ["open", "append", "record", "settle", "park", "renew", "release"] as const;
type Verb = (typeof verbs)[number];
/** The verb's so-manyeth call, and those after it, fail so often; with `after` it was done and its answer lost. */
interface Fault {
  verb: Verb;
  from: number;
  times: number;
  trouble: TroubleKind;
  isAnswerLost: boolean;
}

/** The backend's verbs, failing as drawn. */
function failing(backend: StepBackend, faults: readonly Fault[]) {
  const calls: Partial<Record<Verb, number>> = {};
  const around =
    <Given extends unknown[], T>(verb: Verb, call: (...given: Given) => Promise<T>) =>
    async (...given: Given): Promise<T> => {
      const number = (calls[verb] = (calls[verb] ?? 0) + 1);
      const fault = faults.find(
        ({ verb: of, from, times }) => of === verb && number >= from && number < from + times,
      );
      if (fault === undefined) return call(...given);
      if (fault.isAnswerLost) await call(...given);
      throw new StoreError(fault.trouble, `${verb} ${fault.trouble}`);
    };
  const { store, queue } = backend;
  return {
    store: {
      ...store,
      open: around("open", store.open),
      append: around("append", store.append),
      record: around("record", store.record),
      settle: around("settle", store.settle),
      park: around("park", store.park),
    },
    queue: {
      ...queue,
      renew: around("renew", queue.renew),
      release: around("release", queue.release),
    },
  };
}

const llm = { stepType: "llm", input: { task: "pay" } };
const waited = fc.record({
  verb: fc.constantFrom(...verbs),
  from: fc.integer({ min: 1, max: 3 }),
  times: fc.integer({ min: 1, max: 8 }),
  trouble: fc.constantFrom<TroubleKind>("passing", "ours"),
  isAnswerLost: fc.boolean(),
});

describe("a store that fails", () => {
  it("for a while, at any call, costs nothing but time: the effect is done once, the step completes, nothing is counted [trouble.keeps]", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(waited, { minLength: 1, maxLength: 4 }), async (faults) => {
        const scene = await startScene(randomUUID(), {
          wrap: (backend) => failing(backend, faults),
        });
        scene.plane.advertised.add("idempotent-results");
        await scene.deliver(llm, 1);
        const stats = await scene.backend.queue.stats();
        await scene.close();
        expect(scene.handler.calls).toBe(1);
        expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
        expect(stats).toMatchObject({ length: 0, pending: 0, deadLetters: 0 });
      }),
      { numRuns: 120 },
    );
  });

  it.each(["open", "append", "record", "settle"] as const)(
    "for good at %s, for this step alone, ends it: the control plane hears of it, and a dead letter is kept where the record could not be [dead-letter.past-record]",
    async (verb) => {
      const fault = { verb, from: 1, times: 10_000, trouble: "step", isAnswerLost: false } as const;
      const scene = await startScene(randomUUID(), {
        wrap: (backend) => failing(backend, [fault]),
      });
      scene.plane.advertised.add("idempotent-results");
      await scene.deliver(llm, 1);
      const stats = await scene.backend.queue.stats();
      const [letter] = await scene.backend.queue.deadLetters(10);
      await scene.close();
      expect(stats).toMatchObject({ length: 0, pending: 0 });
      expect(scene.plane.applied).toHaveLength(1);
      expect(scene.handler.calls).toBeLessThanOrEqual(1);
      if (verb === "append") expect(scene.plane.applied[0]?.body.status).toBe("failed");
      else expect(letter?.reason).toContain(verb === "settle" ? "record" : verb);
      const spoken = scene.lines.filter(({ level }) => level === "warn");
      expect(spoken.length).toBeGreaterThan(0);
    },
  );

  it("is found out before money is spent: no effect begins while the journal can't be written [trouble.before-cost]", async () => {
    let paid = 0;
    for (const repeat of ["safe", "unsafe"] as const) {
      const fault = {
        verb: "append",
        from: 1,
        times: 20,
        trouble: "ours",
        isAnswerLost: false,
      } as const;
      let tries = 0;
      const scene = await startScene(randomUUID(), {
        wrap: (backend) => {
          const ports = failing(backend, [fault]);
          const { append } = ports.store;
          ports.store.append = (...given) => {
            tries += 1;
            if (tries <= 20) expect(paid).toBe(0);
            return append(...given);
          };
          return ports;
        },
        handler: async ({ effect }) => {
          const run = async () => {
            paid += 1;
            return ok("paid");
          };
          const done = await effect({ name: "pay", input: {}, repeat, run });
          return done.ok ? { kind: "done", output: done.value } : done.result;
        },
      });
      scene.plane.advertised.add("idempotent-results");
      await scene.deliver(llm, 1);
      expect(paid).toBe(1);
      expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
      const errors = scene.lines.filter(({ level }) => level === "error");
      expect(errors.map(({ message }) => message)).toEqual([
        expect.stringContaining("the store refuses this worker"),
      ]);
      paid = 0;
      await scene.close();
    }
  });
});

describe("a place for artifacts that refuses", () => {
  const long = "x".repeat(300 * 1024);

  it.each<[string, Failure]>([
    ["passing", retryable("unavailable", "503")],
    ["ours", terminal("misconfigured", "the folder is not writable")],
  ])(
    "for a while (%s) is waited for before anything is paid, and the result is kept once [trouble.before-cost]",
    async (_, failure) => {
      let calls = 0;
      const artifacts = {
        ...noNeighbours.artifacts,
        check: async () => (++calls <= 6 ? fail(failure) : ok(null)),
        put: async () => ok({ id: "art", sha256: "s", size: long.length } as never),
      };
      const scene = await startScene(randomUUID(), { ports: { artifacts } });
      scene.handler.output = long;
      await scene.deliver(llm, 1);
      await scene.close();
      expect(calls).toBe(7);
      expect(scene.handler.calls).toBe(1);
      expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
    },
  );

  it("after the effect, holds the result until it is kept, and pays once [trouble.keeps]", async () => {
    let puts = 0;
    const away = terminal("misconfigured", "disk full");
    const artifacts = {
      ...noNeighbours.artifacts,
      check: async () => ok(null),
      put: async () =>
        ++puts <= 15 ? fail(away) : ok({ id: "art", sha256: "s", size: long.length } as never),
    };
    const scene = await startScene(randomUUID(), { ports: { artifacts } });
    scene.handler.output = long;
    await scene.deliver(llm, 1);
    await scene.close();
    expect(puts).toBe(16);
    expect(scene.handler.calls).toBe(1);
    expect(scene.plane.applied).toMatchObject([{ body: { status: "completed" } }]);
  });

  it("this step's result for good, fails the step with that reason, and its effect is not repeated", async () => {
    const no = terminal("invalid_input", "an id that no folder takes");
    const artifacts = {
      ...noNeighbours.artifacts,
      check: async () => ok(null),
      put: async () => fail(no),
    };
    const scene = await startScene(randomUUID(), { ports: { artifacts } });
    scene.handler.output = long;
    await scene.deliver(llm, 1);
    await scene.close();
    expect(scene.handler.calls).toBe(1);
    expect(scene.plane.applied).toMatchObject([
      { body: { status: "failed", error: { kind: "invalid_input" } } },
    ]);
  });
});

describe("a worker that drains while a step waits", () => {
  it("gives the job back uncounted, whatever the step waits for [drain.released]", async () => {
    for (const verb of ["append", "record", "settle"] as const) {
      const fault = {
        verb,
        from: 1,
        times: 100_000,
        trouble: "passing",
        isAnswerLost: false,
      } as const;
      const scene = await startScene(randomUUID(), {
        wrap: (backend) => failing(backend, [fault]),
      });
      scene.plane.advertised.add("idempotent-results");
      const delivering = scene.deliver(llm, 1);
      await scene.pass(5_000);
      const drained = scene.runtime.drain(100);
      await scene.pass(5_000);
      await drained;
      const signal = new AbortController().signal;
      const [stale] = await scene.backend.queue.claimStale(1_000_000, 1);
      const [again] = stale === undefined ? await scene.backend.queue.read(1, 0, signal) : [stale];
      expect(again?.deliveries, verb).toBe(1);
      await scene.backend.queue.deadLetter(again?.entryId ?? "", {
        fields: {},
        reason: "seen",
        stateHistory: [],
        snapshot: null,
        deliveries: 1,
        at: 0,
      });
      await delivering;
      await scene.close();
    }
  });
});
