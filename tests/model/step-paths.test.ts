import { describe, expect, it } from "vitest";
import { stepMachine } from "../../machines/step/machine.ts";
import { finishStep } from "../kit/finish-step.ts";
import { holdStep } from "../kit/hold-step.ts";
import { brokenPromises } from "../kit/invariants.ts";
import { replayPath, sendAll } from "../kit/replay-path.ts";
import { stepEvents } from "../kit/step-events.ts";
import { interruptTypes, stepPaths } from "../kit/step-paths.ts";

const paths = stepPaths();

/** Each distinct moment that some path passes, with the shortest way there. */
const ways = new Map<string, (typeof paths)[number]["steps"]>();
for (const { steps } of paths) {
  for (let length = 1; length <= steps.length; length += 1) {
    const state = steps[length - 1]?.state;
    const { attempts, checks, repairs, asks, limits } = state?.context ?? {};
    const asked = asks?.map(({ approvalId }) => approvalId);
    const name = JSON.stringify([state?.value, attempts, checks, repairs, asked, limits]);
    const known = ways.get(name);
    if (known === undefined || known.length > length) ways.set(name, steps.slice(0, length));
  }
}

const walk = (steps: (typeof paths)[number]["steps"]) =>
  replayPath({ steps } as unknown as (typeof paths)[number]);

describe("every simple path of the step chart", () => {
  it("is generated from the production machine's own graph, and there are many", () => {
    expect(paths.length).toBeGreaterThan(1_000);
  });

  it("is walked by a live actor just as the graph says, keeping every promise [paths.step]", () => {
    const faults = new Set<string>();
    for (const path of paths) {
      const { history, strayed, held } = replayPath(path);
      if (strayed !== null) faults.add(strayed);
      for (const broken of brokenPromises(history)) faults.add(broken);
      held.actor.stop();
    }
    expect([...faults]).toEqual([]);
  });

  it("ends once faults stop, wherever it stands", () => {
    const stuck: string[] = [];
    for (const [name, steps] of ways) {
      const { held } = walk(steps);
      if (!finishStep(held)) stuck.push(name);
    }
    expect(stuck).toEqual([]);
  });

  it("together they pass every state of the chart", () => {
    const passed = new Set<string>();
    for (const { steps } of paths) {
      for (const { state } of steps) for (const node of state._nodes ?? []) passed.add(node.id);
    }
    const all = allStates(stepMachine.root);
    // Reached by an interrupt, which the paths leave out and the tests below send.
    const missed = all.filter(
      (id) => !passed.has(id) && id !== "step.released" && id !== "step.abandoned",
    );
    expect(missed).toEqual([]);
  });
});

function allStates(node: typeof stepMachine.root): string[] {
  const children = Object.values(node.states) as (typeof stepMachine.root)[];
  return [node.id, ...children.flatMap(allStates)];
}

it("a cancel that comes before the record is read is answered once it is", () => {
  const held = holdStep();
  held.actor.send({ type: "cancel.requested", reason: "changed my mind" });
  held.actor.send({ type: "record.fresh" });
  expect(held.asked).not.toContain("checkPolicy");
  expect(held.actor.getSnapshot().context.result).toMatchObject({
    failure: { kind: "cancelled", message: "changed my mind" },
  });
  const done = holdStep();
  done.actor.send({ type: "cancel.requested", reason: "too late" });
  done.actor.send({ type: "record.reported" });
  expect(done.actor.getSnapshot().value).toEqual({ reported: "delivered" });
});

describe("at every state of every path", () => {
  const living = [...ways].filter(([, steps]) => steps.at(-1)?.state.status === "active");

  it("a snapshot survives JSON, is restored in the same state, asks again, and finishes [paths.restore]", () => {
    const faults: string[] = [];
    for (const [name, steps] of living) {
      const { held } = walk(steps);
      const before = held.actor.getSnapshot();
      const snapshot = JSON.parse(JSON.stringify(held.actor.getPersistedSnapshot()));
      held.actor.stop();
      const restored = holdStep(undefined, snapshot);
      if (restored.asked.length > 0) faults.push(`${name}: started work behind our back`);
      restored.actor.send({ type: "resume.requested" });
      const after = restored.actor.getSnapshot();
      if (JSON.stringify(after.value) !== JSON.stringify(before.value))
        faults.push(`${name}: moved`);
      if (restored.asked.join() !== held.asked.at(-1))
        faults.push(`${name}: asked ${restored.asked}`);
      if (!finishStep(restored)) faults.push(`${name}: never finished`);
    }
    expect(faults).toEqual([]);
  });

  it.each(interruptTypes)(
    "%s is answered: the work is aborted first, and the step ends [paths.interrupts]",
    (type) => {
      const event = stepEvents.find((candidate) => candidate.type === type);
      if (event === undefined) throw new Error(`no sample of ${type}`);
      const faults: string[] = [];
      for (const [name, steps] of living) {
        const { held, history } = walk(steps);
        const reported = name.includes("reported");
        const { _nodes: nodes } = held.actor.getSnapshot();
        if (!nodes.some(({ transitions }) => transitions.has(type)))
          faults.push(`${name}: does not answer`);
        sendAll(held, [event], history);
        const state = JSON.stringify(held.actor.getSnapshot().value);
        const expected = {
          // Before its record is read nobody knows what there is to cancel.
          "cancel.requested": name.includes("pending") ? "pending" : "reported",
          "deadline.reached": "reported",
          "lease.lost": "abandoned",
          // Told to the control plane as a failure, unless it has its report and only the record is left.
          "store.failed": name.includes('"delivered"') ? "abandoned" : "reported",
          "drain.requested": reported ? "" : "released",
        }[type];
        if (!state.includes(expected)) faults.push(`${name}: went to ${state}`);
        if (held.underWay() > 1) faults.push(`${name}: ${held.underWay()} effects under way`);
        faults.push(...brokenPromises(history).map((broken) => `${name}: ${broken}`));
        if (type === "store.failed" && name.includes("pending")) {
          const { context } = held.actor.getSnapshot();
          if (context.deadLetter === null) faults.push(`${name}: no dead letter`);
        }
        if (!finishStep(held) && state !== '"released"') faults.push(`${name}: never ended`);
      }
      expect(faults).toEqual([]);
    },
  );
});
