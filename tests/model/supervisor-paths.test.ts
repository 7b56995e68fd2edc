import { createActor } from "xstate";
import { describe, expect, it } from "vitest";
import { type SupervisorEvent, freeSlots } from "../../machines/supervisor/machine.ts";
import { idleSupervisor, supervisorInput, supervisorPaths } from "../kit/supervisor-paths.ts";

const start = () => createActor(idleSupervisor, { input: supervisorInput }).start();

const failed = (at: number): SupervisorEvent => {
  return { type: "source.failed", source: "jobs", message: "connection reset", at };
};

describe("every simple path of the supervisor chart", () => {
  const paths = supervisorPaths();

  it("is walked by a live actor as the graph says, its capacity never exceeded [paths.supervisor]", () => {
    const faults: string[] = [];
    for (const path of paths) {
      const actor = start();
      for (const { event, state } of path.steps.slice(1)) {
        actor.send(event);
        const { value, context } = actor.getSnapshot();
        if (value !== state.value) faults.push(`${event.type}: ${value}, not ${state.value}`);
        if (context.running > context.capacity) faults.push(`${context.running} steps at once`);
        if (context.running < 0) faults.push("fewer steps than none");
        if (value === "draining" && freeSlots(context) > 0)
          faults.push("takes jobs while it drains");
      }
      actor.stop();
    }
    expect(faults).toEqual([]);
  });

  it("ends in stopped once it is drained and its steps have ended", () => {
    const stuck: string[] = [];
    for (const path of paths) {
      const actor = start();
      for (const { event } of path.steps.slice(1)) actor.send(event);
      if (actor.getSnapshot().status === "active")
        actor.send({ type: "drain.requested", graceMs: 0 });
      while (actor.getSnapshot().status === "active" && actor.getSnapshot().context.running > 0) {
        actor.send({ type: "steps.ended", count: 1 });
      }
      if (actor.getSnapshot().status !== "done") stuck.push(JSON.stringify(path.state.value));
    }
    expect(stuck).toEqual([]);
  });

  it("its snapshot holds no step, however many are alive", () => {
    const actor = createActor(idleSupervisor, { input: { ...supervisorInput, capacity: 1_000 } });
    actor.start();
    const before = Object.keys(actor.getSnapshot().children).length;
    const deliveries = Array.from({ length: 999 }, () => ({
      entryId: "1-0",
      fields: {},
      deliveries: 1,
    }));
    actor.send({ type: "jobs.received", deliveries });
    expect(actor.getSnapshot().context.running).toBe(999);
    expect(Object.keys(actor.getSnapshot().children)).toHaveLength(before);
  });
});

describe("a source that fails", () => {
  it("is tried again, however often it fails, and ends the worker only after too long without a success", () => {
    const actor = start();
    for (let at = 0; at < 1_000; at += 10) actor.send(failed(at));
    expect(actor.getSnapshot().value).toBe("receiving");
    actor.send({ type: "source.recovered", source: "jobs" });
    actor.send(failed(1_500));
    actor.send({ ...failed(2_400), source: "heartbeat" } as SupervisorEvent);
    expect(actor.getSnapshot().value).toBe("receiving");
    actor.send(failed(2_500));
    expect(actor.getSnapshot().value).toBe("stopped");
    const { fault } = actor.getSnapshot().output ?? {};
    expect(fault).toContain("jobs failed for too long: connection reset");
  });
});

describe("a step that crashes", () => {
  it("is counted and its place freed, and the supervisor goes on", () => {
    const actor = start();
    const deliveries = [1, 2].map(() => ({ entryId: "1-0", fields: {}, deliveries: 1 }));
    actor.send({ type: "jobs.received", deliveries });
    expect(actor.getSnapshot().value).toBe("full");
    actor.send({ type: "step.crashed", stepId: "stp_1", message: "out of luck" });
    expect(actor.getSnapshot()).toMatchObject({
      value: "receiving",
      context: { running: 1, crashed: 1 },
    });
  });
});

describe("while the control plane is away", () => {
  it("there is no freeSlots, and it comes back with the control plane", () => {
    const actor = start();
    actor.send({ type: "neighbour.away", neighbour: "control plane" });
    actor.send({ type: "neighbour.away", neighbour: "store" });
    actor.send({ type: "neighbour.back", neighbour: "store" });
    expect(freeSlots(actor.getSnapshot().context)).toBe(0);
    actor.send({ type: "neighbour.back", neighbour: "control plane" });
    expect(freeSlots(actor.getSnapshot().context)).toBe(2);
  });
});
