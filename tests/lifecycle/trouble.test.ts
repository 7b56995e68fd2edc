import * as fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { patientPorts, type Waiting } from "../../actors/patient-ports.ts";
import { RunLooks } from "../../actors/run-looks.ts";
import { DeadlinePassed, Drained, TroubleWatch } from "../../actors/trouble.ts";
import { StoreError } from "../../machines/contracts/domain/errors.ts";
import {
  fail,
  type Failure,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { StepQueue, StepStore } from "../../machines/contracts/ports/step-backend.ts";
import type { RunView } from "../../machines/contracts/wire/views.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { simulatedControlPlane } from "../kit/simulated-control-plane.ts";
import { sampleJob } from "../kit/step-events.ts";
import { type VirtualClock, virtualClock } from "../kit/virtual-clock.ts";

const lease = { runId: "run_1", stepId: "stp_1", entryId: "1-0", fence: 1 };
const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

let clock: VirtualClock;
let lines: { level: string; message: string }[];
let watch: TroubleWatch;
let held: string[];
beforeEach(() => {
  clock = virtualClock();
  lines = [];
  held = [];
  const say = (level: string) => (_: object, message: string) =>
    void lines.push({ level, message });
  const log = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") };
  watch = new TroubleWatch({ clock, log });
  watch.onHold((neighbour, isHeld) => held.push(`${neighbour} ${isHeld ? "held" : "free"}`));
});

/** A store, an artifact store and a control plane that fail as they are told, in turn, and then are well. */
function scene(said: { store?: StoreError[]; artifacts?: Failure[]; plane?: Failure[] }) {
  const calls = { append: 0, check: 0, run: 0 };
  const leaving = new AbortController();
  const draining = new AbortController();
  let until: number | null = null;
  const waiting: Waiting = {
    signal: leaving.signal,
    drained: draining.signal,
    until: () => until,
    limits: { baseDelayMs: 100, maxDelayMs: 5_000 },
  };
  const plane = simulatedControlPlane(sampleJob, { answers: [], now: clock.now, approvalMs: 1 });
  const ports = patientPorts(
    {
      ...noNeighbours,
      clock,
      queue: {} as StepQueue,
      store: {
        append: async () => {
          const error = said.store?.[calls.append++];
          if (error !== undefined) throw error;
          return "written";
        },
      } as unknown as StepStore,
      artifacts: {
        ...noNeighbours.artifacts,
        check: async () => {
          const failure = said.artifacts?.[calls.check++];
          return failure === undefined ? ok(null) : fail(failure);
        },
      },
      controlPlane: {
        ...plane,
        run: async (...given): Promise<Outcome<RunView>> => {
          const failure = said.plane?.[calls.run++];
          return failure === undefined ? plane.run(...given) : fail(failure);
        },
      },
    },
    watch,
    waiting,
  );
  return {
    ports,
    calls,
    leave: () => leaving.abort(new Error("left")),
    drain: () => draining.abort(),
    endsAt: (at: number) => void (until = at),
  };
}

/** Lets time pass until the work is over. */
async function patiently<T>(work: Promise<T>): Promise<T> {
  let isOver = false;
  const over = work.finally(() => (isOver = true));
  over.catch(() => {});
  for (let turn = 0; turn < 500 && !isOver; turn += 1) {
    await quiet();
    const next = clock.untilNext();
    if (!isOver && next !== null) clock.advance(next);
  }
  return over;
}

const passing = new StoreError("passing", "READONLY");
const ours = new StoreError("ours", "no space left on the disk");
const steps = new StoreError("step", "WRONGTYPE");

describe("a call that meets trouble", () => {
  it("is made again through any row of passing trouble and ours, never more often than it failed, and a step's own is handed on at once [trouble.waits]", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(passing, ours), { maxLength: 12 }),
        fc.boolean(),
        async (before, endsBadly) => {
          clock = virtualClock();
          const { ports, calls } = scene({ store: endsBadly ? [...before, steps] : before });
          const written = patiently(ports.store.append(lease, []));
          if (endsBadly) await expect(written).rejects.toBe(steps);
          else await expect(written).resolves.toBe("written");
          expect(calls.append).toBe(before.length + 1);
          expect(clock.untilNext()).toBeNull();
        },
      ),
    );
  });

  it("is the control plane's or the artifacts' as well, by the kind of the failure and never its words [trouble.waits]", async () => {
    const failures = fc.constantFrom(
      retryable("unavailable", "not found"),
      retryable("rate_limited", "refused", 60_000),
      terminal("unauthorized", "retry later"),
      terminal("misconfigured", "the folder"),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(failures, { maxLength: 8 }), async (before) => {
        clock = virtualClock();
        const { ports, calls } = scene({ plane: before, artifacts: before });
        const { signal } = new AbortController();
        expect(await patiently(ports.controlPlane.run("run_1", signal))).toMatchObject({
          ok: true,
        });
        expect(await patiently(ports.artifacts.check())).toEqual(ok(null));
        expect([calls.run, calls.check]).toEqual([before.length + 1, before.length + 1]);
      }),
    );
    const refused = terminal("not_found", "no such run");
    const { ports } = scene({ plane: [refused] });
    const answer = await ports.controlPlane.run("run_1", new AbortController().signal);
    expect(answer).toEqual(fail(refused));
  });

  it("waits no shorter than it is asked to", async () => {
    const { ports, calls } = scene({ plane: [retryable("rate_limited", "slow down", 30_000)] });
    const asked = ports.controlPlane.run("run_1", new AbortController().signal);
    await quiet();
    clock.advance(29_999);
    await quiet();
    expect(calls.run).toBe(1);
    await patiently(asked);
    expect(calls.run).toBe(2);
  });

  it("ends its wait when the state is left, when the worker drains, and at the step's deadline [trouble.wait-ends]", async () => {
    const always = Array.from({ length: 600 }, () => passing);
    const left = scene({ store: always });
    const first = left.ports.store.append(lease, []);
    await quiet();
    left.leave();
    await expect(first).rejects.toThrow("left");

    const drained = scene({ store: always });
    const second = drained.ports.store.append(lease, []);
    await quiet();
    drained.drain();
    await expect(second).rejects.toThrow(Drained);

    const late = scene({ store: always });
    late.endsAt(clock.now() + 60_000);
    await expect(patiently(late.ports.store.append(lease, []))).rejects.toThrow(DeadlinePassed);
    expect(clock.untilNext()).toBeNull();
  });
});

describe("the worker's own trouble", () => {
  it("is said once as an error that names what to do, holds the intake, and ends with a line [trouble.ours]", async () => {
    const { ports } = scene({ store: [ours, ours, ours] });
    await patiently(ports.store.append(lease, []));
    expect(held).toEqual(["store held", "store free"]);
    expect(lines.map(({ level }) => level)).toEqual(["error", "info"]);
    expect(lines[0]?.message).toContain("no space left on the disk");
    expect(lines[0]?.message).toContain("free its disk");
  });

  it("is said again each minute while it lasts, and no more often", async () => {
    const { ports, leave } = scene({ store: Array.from({ length: 600 }, () => ours) });
    const kept = ports.store.append(lease, []);
    kept.catch(() => {});
    for (let passed = 0; passed < 5 * 60_000; passed += 500) {
      await quiet();
      clock.advance(500);
    }
    leave();
    await expect(kept).rejects.toThrow();
    expect(lines.length).toBeGreaterThanOrEqual(4);
    expect(lines.length).toBeLessThanOrEqual(6);
  });

  it("holds no longer than somebody waits who would notice its end", async () => {
    const { ports, leave } = scene({ store: Array.from({ length: 9 }, () => ours) });
    const kept = ports.store.append(lease, []);
    await quiet();
    leave();
    await expect(kept).rejects.toThrow("left");
    expect(held).toEqual(["store held"]);
    clock.advance(10_000);
    expect(held).toEqual(["store held", "store free"]);
  });
});

describe("passing trouble", () => {
  it("holds no intake, and is worth a line only when it lasts", async () => {
    await patiently(scene({ store: [passing] }).ports.store.append(lease, []));
    expect(lines).toEqual([]);
    await patiently(
      scene({ store: Array.from({ length: 12 }, () => passing) }).ports.store.append(lease, []),
    );
    expect(lines.map(({ level }) => level)).toEqual(["warn", "info"]);
    expect(held).toEqual([]);
  });
});

describe("looks at runs", () => {
  const planeOf = (statuses: RunView["status"][]) => {
    let asked = 0;
    return {
      asked: () => asked,
      run: async (id: string): Promise<Outcome<RunView>> => {
        const status = statuses[Math.min(asked++, statuses.length - 1)] ?? "running";
        await quiet();
        return ok({ id, status });
      },
    };
  };
  const { signal } = new AbortController();

  it("one serves all steps of a run for some seconds, and whoever must not miss an end looks anew", async () => {
    const runs = new RunLooks(clock);
    const plane = planeOf(["running", "running", "cancelled"]);
    const looks = await Promise.all([1, 2, 3].map(() => runs.look(plane, "run_1", signal)));
    expect(looks).toEqual([ok("running"), ok("running"), ok("running")]);
    expect(plane.asked()).toBe(1);
    await runs.look(plane, "run_1", signal, 0);
    expect(plane.asked()).toBe(2);
    clock.advance(10_000);
    expect(await runs.look(plane, "run_1", signal)).toEqual(ok("cancelled"));
    clock.advance(10_000_000);
    expect(await runs.look(plane, "run_1", signal, 0)).toEqual(ok("cancelled"));
    expect(plane.asked()).toBe(3);
  });

  it("one that its asker gave up is no answer to those who shared it", async () => {
    const runs = new RunLooks(clock);
    const given = new AbortController();
    const { promise, reject } = Promise.withResolvers<Outcome<RunView>>();
    given.signal.addEventListener("abort", () => reject(given.signal.reason));
    const first = runs.look({ run: () => promise }, "run_1", given.signal);
    const second = runs.look(planeOf(["running"]), "run_1", signal);
    given.abort(new Error("cancelled"));
    await expect(first).rejects.toThrow("cancelled");
    await expect(second).resolves.toEqual(ok("running"));
  });
});
