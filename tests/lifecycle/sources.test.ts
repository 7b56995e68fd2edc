import { type AnyActorRef, createActor, fromCallback } from "xstate";
import { beforeEach, describe, expect, it } from "vitest";
import { RunLooks } from "../../actors/run-looks.ts";
import { cancellations } from "../../actors/sources/cancellations.ts";
import { jobsSource } from "../../actors/sources/jobs.ts";
import { heartbeat, timers } from "../../actors/sources/periodic.ts";
import type { RunningStep, WorkerContext } from "../../actors/step/spawn.ts";
import { watchAvailability } from "../../actors/watch-availability.ts";
import { fail, type Failure, ok, retryable } from "../../machines/contracts/domain/failure.ts";
import type { RunStatus } from "../../machines/contracts/domain/status.ts";
import type { ControlPlane } from "../../machines/contracts/ports/control-plane.ts";
import type { Delivery } from "../../machines/contracts/ports/step-backend.ts";
import type { SupervisorEvent } from "../../machines/supervisor/machine.ts";
import { noNeighbours } from "../kit/live-once.ts";
import { simulatedControlPlane } from "../kit/simulated-control-plane.ts";
import { sampleJob } from "../kit/step-events.ts";
import { type VirtualClock, virtualClock } from "../kit/virtual-clock.ts";

const quiet = () => new Promise<void>((resolve) => setImmediate(resolve));

let clock: VirtualClock;
let told: SupervisorEvent[];
beforeEach(() => {
  clock = virtualClock();
  told = [];
});

/** Time passes in small pieces, and all that follows from each happens. */
async function pass(ms: number, piece = 250): Promise<void> {
  await quiet();
  for (let passed = 0; passed < ms; passed += piece) {
    clock.advance(piece);
    await quiet();
  }
}

/** Starts a source under a parent that keeps what it is told. */
function start(source: Parameters<typeof createActor>[0]): AnyActorRef {
  const listener = fromCallback<SupervisorEvent>(({ receive }) => {
    receive((event) => told.push(event));
  });
  const parent = createActor(listener).start() as unknown as AnyActorRef;
  const actor = createActor(source, { parent } as never) as unknown as AnyActorRef;
  actor.start();
  return actor;
}

const stepOf = (runId: string, sent: unknown[] = []): RunningStep =>
  ({
    session: {
      key: { runId, stepId: `stp of ${runId}` },
      startedAt: clock.monotonic(),
      leaseSeen: 0,
    },
    actor: { getSnapshot: () => ({ hasTag: () => false }) },
    tell: (event: unknown) => sent.push(event),
  }) as unknown as RunningStep;

function worker(ports: object, alive = new Map<string, RunningStep>()): WorkerContext {
  return {
    ports: { ...noNeighbours, clock, ...ports },
    options: { leaseMs: 3_000 },
    alive,
    track: () => {},
    runs: new RunLooks(clock),
  } as unknown as WorkerContext;
}

describe("the heartbeat", () => {
  it("goes on after any number of failures, says when they began and ended, and tells the steps whose lease is lost [sources.survive]", async () => {
    let calls = 0;
    const sent: unknown[] = [];
    const alive = new Map([["1-0", stepOf("run_1", sent)]]);
    const queue = {
      renew: async () => {
        calls += 1;
        if (calls <= 3) throw new Error("connection reset");
        return calls < 6 ? [] : ["1-0"];
      },
    };
    start(heartbeat(worker({ queue }, alive)) as never);
    await pass(4_000);
    expect(calls).toBeGreaterThanOrEqual(4);
    expect(told.map(({ type }) => type)).toEqual([
      "source.failed",
      "source.failed",
      "source.failed",
      "source.recovered",
    ]);
    expect(alive.get("1-0")?.session.leaseSeen).toBeGreaterThan(0);
    expect(sent).toEqual([]);
    await pass(3_000);
    expect(sent).toContainEqual({ type: "lease.lost" });
  });
});

describe("the timers", () => {
  it("wake all that is due in one turn, however much it is [sources.all-due]", async () => {
    let due = 730;
    const store = {
      wakeDue: async (limit: number) => {
        const woken = Math.min(due, limit);
        due -= woken;
        return woken;
      },
    };
    start(timers(worker({ store })) as never);
    await pass(1_250);
    expect(due).toBe(0);
  });

  it("say when the store answers nothing, and when it answers again [sources.silence]", async () => {
    const answer = Promise.withResolvers<number>();
    const lines: string[] = [];
    const note = (_: object, message: string) => void lines.push(message);
    const log = { ...noNeighbours.log, warn: note, info: note };
    const storeName = "Redis at here";
    const store = { wakeDue: () => answer.promise };
    start(timers(worker({ log, store, storeName })) as never);
    await pass(5_500);
    expect(lines).toEqual([]);
    await pass(1_000);
    expect(lines).toEqual([
      "the store (Redis at here) has not answered for 5 s; steps are waiting for it",
    ]);
    answer.resolve(0);
    await pass(10_000);
    expect(lines.slice(1)).toEqual(["the store (Redis at here) answers again"]);
  });
});

describe("the source of jobs", () => {
  const delivery = (number: number): Delivery => ({
    entryId: `${number}-0`,
    fields: {},
    deliveries: 1,
  });
  const deliveries = (count: number) => Array.from({ length: count }, (_, at) => delivery(at + 1));

  it("hands on no more jobs than there is room for when they arrive, and releases the rest at once [sources.room]", async () => {
    const answer = Promise.withResolvers<Delivery[]>();
    const released: string[] = [];
    let isFirst = true;
    let failures = 1;
    const queue = {
      claimStale: async () => [],
      read: () => {
        const first = isFirst;
        isFirst = false;
        return first ? answer.promise : new Promise<Delivery[]>(() => {});
      },
      release: async (ids: string[]) => {
        // The store may be away at just that moment.
        if (failures-- > 0) throw new Error("connection reset");
        released.push(...ids);
      },
    };
    let before: number | null = null;
    const onJobs = () => (before = told.length);
    const options = { leaseMs: 3_000, capacity: 8, onJobs };
    const ports = { ...noNeighbours, clock, queue } as never;
    const actor = start(jobsSource(ports, options, () => {}) as never);
    actor.send({ type: "capacity.free", freeSlots: 8 } as never);
    await pass(250);
    actor.send({ type: "capacity.free", freeSlots: 3 } as never);
    answer.resolve(deliveries(8));
    await pass(2_000);
    const taken = told.flatMap((event) =>
      event.type === "jobs.received" ? event.deliveries.map(({ entryId }) => entryId) : [],
    );
    expect(taken).toEqual(["1-0", "2-0", "3-0"]);
    expect(released).toEqual(["4-0", "5-0", "6-0", "7-0", "8-0"]);
    // Whoever watches over the worker was told first.
    expect(before).toBe(told.findIndex(({ type }) => type === "jobs.received"));
  });

  it("releases everything that arrives when there is no room any more", async () => {
    const answer = Promise.withResolvers<Delivery[]>();
    const released: string[] = [];
    const queue = {
      claimStale: async () => [],
      read: () => answer.promise,
      release: async (ids: string[]) => void released.push(...ids),
    };
    const options = { leaseMs: 3_000, capacity: 2 };
    const actor = start(
      jobsSource({ ...noNeighbours, clock, queue } as never, options, () => {}) as never,
    );
    actor.send({ type: "capacity.free", freeSlots: 2 } as never);
    await pass(250);
    actor.send({ type: "capacity.free", freeSlots: 0 } as never);
    answer.resolve(deliveries(2));
    await pass(500);
    expect(told).toEqual([]);
    expect(released).toEqual(["1-0", "2-0"]);
  });
});

describe("the watch for cancellations", () => {
  function plane(answer: (runId: string) => RunStatus | Failure | Error) {
    const asked: { runId: string; at: number }[] = [];
    const base = simulatedControlPlane(sampleJob, { answers: [], now: clock.now, approvalMs: 1 });
    const controlPlane: ControlPlane = {
      ...base,
      run: async (runId) => {
        asked.push({ runId, at: clock.monotonic() });
        const said = answer(runId);
        if (said instanceof Error) throw said;
        return typeof said === "string" ? ok({ id: runId, status: said }) : fail(said);
      },
    };
    return { controlPlane, asked };
  }

  it.each(["cancelled", "budget_killed", "timeout", "airlock_blocked"] as const)(
    "tells the steps of a run that is %s, and no other [interrupt.cancel]",
    async (status) => {
      const one: unknown[] = [];
      const other: unknown[] = [];
      const alive = new Map([
        ["1-0", stepOf("run_1", one)],
        ["2-0", stepOf("run_2", other)],
      ]);
      const { controlPlane } = plane((runId) => (runId === "run_1" ? status : "running"));
      start(cancellations(worker({ controlPlane }, alive)) as never);
      await pass(30_000);
      expect(one[0]).toEqual({ type: "cancel.requested", reason: `the run is ${status}` });
      expect(other).toEqual([]);
    },
  );

  it("goes on after an exception [sources.survive]", async () => {
    let calls = 0;
    const sent: unknown[] = [];
    const { controlPlane } = plane(() => {
      calls += 1;
      return calls <= 2 ? new URIError("URI malformed") : "cancelled";
    });
    const alive = new Map([["1-0", stepOf("run_1", sent)]]);
    start(cancellations(worker({ controlPlane }, alive)) as never);
    await pass(40_000);
    expect(sent[0]).toMatchObject({ type: "cancel.requested" });
  });

  it("asks well under twenty times a minute, however many steps run, and nothing while none runs for long [cancellations.calls]", async () => {
    const alive = new Map<string, RunningStep>();
    const { controlPlane, asked } = plane(() => "running");
    start(cancellations(worker({ controlPlane }, alive)) as never);
    await pass(60_000);
    expect(asked).toEqual([]);
    // Short steps, one after the other.
    for (let number = 0; number < 30; number += 1) {
      alive.set("1-0", stepOf(`run_${number}`));
      await pass(2_000);
    }
    expect(asked).toEqual([]);
    alive.clear();
    for (let number = 0; number < 40; number += 1) {
      for (const step of [1, 2, 3]) alive.set(`${number}-${step}`, stepOf(`run_${number}`));
    }
    await pass(60_000);
    expect(asked.length).toBeGreaterThan(5);
    expect(asked.length).toBeLessThan(12);
    // One look serves all steps of its run.
    expect(new Set(asked.map(({ runId }) => runId)).size).toBe(asked.length);
  });

  it("asks less often after a 429, not before it may, and as often as before once it is answered [cancellations.calls]", async () => {
    let isBusy = true;
    const { controlPlane, asked } = plane(() =>
      isBusy ? retryable("rate_limited", "slow down", 20_000) : "running",
    );
    start(cancellations(worker({ controlPlane }, new Map([["1-0", stepOf("run_1")]]))) as never);
    await pass(180_000);
    const gaps = asked.slice(1).map(({ at }, index) => at - (asked[index]?.at ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThan(20_000);
    expect(gaps.at(-1)).toBeGreaterThan(60_000);
    isBusy = false;
    await pass(300_000);
    const calm = asked.slice(-4).map(({ at }) => at);
    expect((calm[3] ?? 0) - (calm[2] ?? 0)).toBeLessThan(7_000);
  });

  it("looks when a run's own channel hints, follows only runs of steps that last, and tries no more where there is none", async () => {
    const followed = new Map<string, { hint: () => void; signal: AbortSignal }>();
    const sent: unknown[] = [];
    let status: RunStatus = "running";
    const { controlPlane, asked } = plane(() => status);
    const watchRun = (runId: string, hint: () => void, signal: AbortSignal) => {
      followed.set(runId, { hint, signal });
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve(ok(null))));
    };
    const alive = new Map([["1-0", stepOf("run_1", sent)]]);
    start(cancellations(worker({ controlPlane, watchRun }, alive)) as never);
    await pass(13_000);
    expect([...followed.keys()]).toEqual(["run_1"]);
    const before = asked.length;
    status = "cancelled";
    followed.get("run_1")?.hint();
    await pass(250);
    expect(asked.length).toBe(before + 1);
    expect(sent[0]).toMatchObject({ type: "cancel.requested" });
    alive.clear();
    await pass(30_000);
    expect(followed.get("run_1")?.signal.aborted).toBe(true);

    let tries = 0;
    const none = async () => {
      tries += 1;
      return fail({ kind: "not_found", message: "no such channel", retryable: false } as const);
    };
    const steps = new Map([["1-0", stepOf("run_2")]]);
    start(cancellations(worker({ controlPlane, watchRun: none }, steps)) as never);
    await pass(60_000);
    expect(tries).toBe(1);
  });
});

describe("the watch over the control plane's availability", () => {
  const away = retryable("unavailable", "connection refused");
  const { signal } = new AbortController();

  it("goes on probing after an exception, and is back when it is answered [sources.survive]", async () => {
    let pings = 0;
    const base = simulatedControlPlane(sampleJob, { answers: [], now: clock.now, approvalMs: 1 });
    const controlPlane: ControlPlane = {
      ...base,
      run: async () => fail(away),
      ping: async () => {
        pings += 1;
        if (pings <= 2) throw new Error("out of the blue");
        return ok(null);
      },
    };
    const changes: boolean[] = [];
    const watched = watchAvailability({ controlPlane, clock, log: noNeighbours.log }, () => {});
    watched.onChange((isAway) => changes.push(isAway));
    for (let call = 0; call < 3; call += 1) await watched.controlPlane.run("run_1", signal);
    await pass(5_000);
    expect(changes).toEqual([true, false]);
    watched.stop();
  });

  it("takes a call that outlives its own deadline for a fault of this process, and frees its caller [net.hung-call]", async () => {
    const base = simulatedControlPlane(sampleJob, { answers: [], now: clock.now, approvalMs: 1 });
    const controlPlane: ControlPlane = {
      ...base,
      callTimeoutMs: 5_000,
      report: () => new Promise(() => {}),
    };
    const faults: string[] = [];
    const watched = watchAvailability({ controlPlane, clock, log: noNeighbours.log }, () => {});
    watched.onFault((message) => faults.push(message));
    const body = { status: "completed" as const };
    const report = { runId: "run_1", stepId: "stp_1", fence: 1, idempotencyKey: "k", body };
    const sent = watched.controlPlane.report(report, signal);
    await pass(6_000);
    expect(faults).toEqual([]);
    await pass(20_000);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toContain("report");
    await expect(sent).resolves.toMatchObject({ ok: false, failure: { kind: "unavailable" } });
    watched.stop();
  });
});
