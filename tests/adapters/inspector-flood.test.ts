import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Entry } from "../../adapters/console/inspector/entries.ts";
import { Feed } from "../../adapters/console/inspector/feed.ts";

describe("what an inspector keeps of a flood, and tells", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("keeps of a flood that it is not told of some that completed, all that failed, what a step came to, and counts the others [inspector.flood]", () => {
    const feed = new Feed(Date.now);
    let asked = 0;
    let leftOut = () => {};
    const steps = { machine: "step", parent: null, about: null, passed: [], runId: "run" } as const;
    feed.attach({
      watch: (listener, tell) => {
        leftOut = tell;
        const catchUp = () => {
          asked += 1;
          const key = { id: "x:lasts", name: "lasts", stepId: "lasts", stepType: "tool" } as const;
          listener.appeared({ ...steps, ...key });
          const about = { event: "", detail: null, source: null, context: {}, at: Date.now() };
          listener.moved({ ...about, id: "x:lasts", value: "executing", status: "active" });
        };
        return { catchUp, stop: () => {} };
      },
    });
    const end = (stepId: string, actorId: string, state: string, outcome: string) =>
      feed.ended({ runId: "run", stepId, actorId, stepType: "llm", passed: [], state, outcome });
    for (let n = 0; n < 200; n += 1) end(`early_${n}`, `e:${n}`, "settled", "completed");
    const seen = new Map<number, Entry>();
    let unseen = 0;
    const leave = feed.onBatch((batch) => {
      for (const entry of batch.changed) seen.set(entry.id, entry);
      unseen += batch.unseen;
    });
    leftOut();
    vi.advanceTimersByTime(50);
    expect(asked).toBe(1);
    expect([...seen.values()].map(({ actor }) => actor.name)).toEqual(["lasts"]);
    end("held", "h:1", "parked", "parked");
    for (let n = 0; n < 1_000; n += 1) {
      const outcome = n % 100 === 50 ? "failed" : "completed";
      end(`flood_${n}`, `f:${n}`, "settled", outcome);
    }
    vi.advanceTimersByTime(1_000);
    end("held", "h:2", "settled", "completed");
    for (let n = 0; n < 100; n += 1) end(`more_${n}`, `m:${n}`, "settled", "completed");
    vi.advanceTimersByTime(1_000);
    const ended = [...seen.values()].filter(({ outcome }) => outcome !== null);
    const outcomes = (of: string) =>
      ended.filter(({ actor }) => actor.name.startsWith(of)).map(({ outcome }) => outcome);
    expect(outcomes("held")).toEqual(["parked", "completed"]);
    expect(outcomes("flood").filter((outcome) => outcome === "failed")).toHaveLength(10);
    expect(outcomes("flood").length).toBeLessThan(50);
    expect(ended.length + unseen).toBe(1_102);
    // It stands still: nobody is asked any more.
    const until = asked;
    vi.advanceTimersByTime(10_000);
    expect(asked).toBe(until);
    leave();
    feed.close();
  });

  it.each(["followed from its beginning", "asked for before a batch", "known by its loop alone"])(
    "has the sessions of a step in the order in which they began, where one that was left out ended before one that is %s [inspector.flood]",
    (how) => {
      const feed = new Feed(Date.now);
      const key = { runId: "run", stepId: "step" };
      const about = { ...key, name: "step", parent: null, about: null, passed: [] };
      const appear = (id: string, machine = "step") =>
        feed.appeared({ ...about, id, machine, stepType: "llm" });
      const end = (stepId: string, actorId: string, state: string) =>
        feed.ended({ ...key, stepId, actorId, stepType: "llm", passed: [], state, outcome: state });
      let catchUp = () => {};
      feed.attach({ watch: () => ({ catchUp: () => catchUp(), stop: () => {} }) });
      for (let n = 0; n < 200; n += 1) end(`early_${n}`, `e:${n}`, "settled");
      const leave = feed.onBatch(() => {});
      vi.advanceTimersByTime(1_000);
      end("step", "x:1", "parked");
      if (how.startsWith("followed")) appear("x:2");
      else if (how.startsWith("asked")) catchUp = () => appear("x:2");
      else {
        appear("loop:run/step/0", "agent-loop");
        end("step", "x:2", "settled");
      }
      vi.advanceTimersByTime(1_000);
      const ofTheStep = [...feed.entries()].filter(
        ({ actor }) => actor.machine === "step" && actor.stepId === "step",
      );
      expect(ofTheStep.map(({ actor }) => actor.id)).toEqual(["x:1", "x:2"]);
      leave();
      feed.close();
    },
  );

  it("lists no session after the one that is at work and began later: one that was left out and lost its lease is counted [inspector.flood]", () => {
    const feed = new Feed(Date.now);
    const key = { runId: "run", stepId: "step" };
    const end = (stepId: string, actorId: string, state: string) =>
      feed.ended({ ...key, stepId, actorId, stepType: "llm", passed: [], state, outcome: state });
    for (let n = 0; n < 200; n += 1) end(`early_${n}`, `e:${n}`, "settled");
    let unseen = 0;
    const leave = feed.onBatch((batch) => (unseen += batch.unseen));
    const about = { name: "step", machine: "step", parent: null, about: null, passed: [] };
    feed.appeared({ ...key, ...about, id: "x:2", stepType: "llm" });
    end("step", "x:1", "abandoned");
    vi.advanceTimersByTime(1_000);
    const ofTheStep = [...feed.entries()].filter(({ actor }) => actor.stepId === "step");
    expect(ofTheStep.map(({ actor, outcome }) => [actor.id, outcome])).toEqual([["x:2", null]]);
    expect(unseen).toBe(1);
    leave();
    feed.close();
  });

  it("counts for each who looks all that ended since and is not listed, whoever comes and goes [inspector.flood]", () => {
    const feed = new Feed(Date.now);
    let ended = 0;
    const flood = (count: number) => {
      for (let n = 0; n < count; n += 1) {
        ended += 1;
        const about = { runId: "run", stepId: `stp_${ended}`, actorId: `x:${ended}`, passed: [] };
        feed.ended({ ...about, stepType: "tool", state: "settled", outcome: "completed" });
      }
    };
    const look = () => {
      const rows = new Set<number>();
      let unseen = 0;
      const leave = feed.onBatch(({ changed, unseen: more }) => {
        for (const { id } of changed) rows.add(id);
        unseen += more;
      });
      const atFirst = [...feed.entries()].map(({ id }) => id);
      const since = ended;
      for (const id of atFirst) rows.add(id);
      return {
        leave,
        told: () => rows.size - atFirst.length + unseen,
        ended: () => ended - since,
      };
    };
    flood(1_000);
    const stays = look();
    for (let turn = 0; turn < 20; turn += 1) {
      flood(100);
      const stopListening = feed.listen({ appeared: () => {}, moved: () => {} });
      flood(100);
      const comes = look();
      flood(100);
      vi.advanceTimersByTime(turn % 2 === 0 ? 20 : 400);
      stopListening();
      const comesAlso = look();
      flood(100);
      vi.advanceTimersByTime(400);
      for (const page of [comes, comesAlso]) {
        expect(page.told()).toBe(page.ended());
        page.leave();
      }
    }
    expect(stays.told()).toBe(8_000);
    expect(stays.ended()).toBe(8_000);
    stays.leave();
    feed.close();
  });
});
