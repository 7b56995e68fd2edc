import * as fc from "fast-check";
import { createActor, initialTransition, type SnapshotFrom, transition } from "xstate";
import { describe, expect, it } from "vitest";
import { compile } from "../../machines/compile.ts";
import { pureTransitions } from "../../machines/pure.ts";
import type { LoopEvent } from "../../machines/agent-loop/events.ts";
import {
  agentLoopMachine,
  type LoopActivity,
  loopActivities,
  loopEnd,
} from "../../machines/agent-loop/machine.ts";
import {
  estimateTokens,
  foldedTurns,
  isFoldable,
  keptLength,
  withLastCut,
} from "../../machines/agent-loop/rules.ts";
import type { Turn } from "../../machines/agent-loop/context.ts";
import {
  callingReply,
  loopEvents,
  loopInput,
  loopPaths,
  sampleReply,
  sampleResult,
} from "../kit/agent-loop-paths.ts";

const paths = loopPaths();
const compiled = compile(agentLoopMachine);
const loop = pureTransitions(compiled);

/** What each activity answers when all goes well. */
const answers: Record<LoopActivity, LoopEvent> = {
  askModel: { type: "reply.received", reply: callingReply },
  runCalls: { type: "results.received", results: [sampleResult], digest: "new" },
  askForAnswer: { type: "reply.received", reply: sampleReply },
};

interface Moment {
  snapshot: SnapshotFrom<typeof agentLoopMachine>;
  asked: string[];
}

/** Walks the chart by XState's pure functions; returns each moment's state and what it asked for. */
function fold(logic: typeof agentLoopMachine, events: readonly LoopEvent[]): Moment[] {
  let [snapshot, actions] = initialTransition(logic, loopInput);
  const moments: Moment[] = [{ snapshot, asked: actions.map(({ type }) => type) }];
  for (const event of events) {
    [snapshot, actions] = transition(logic, snapshot, event);
    moments.push({ snapshot, asked: actions.map(({ type }) => type) });
  }
  return moments;
}

/** The same as a step's loop walks it: compiled, and without XState's pure functions. */
function walk(events: readonly LoopEvent[]): Moment[] {
  let moved = loop.initial(loopInput);
  const moments = [{ snapshot: moved.snapshot, asked: moved.actions }];
  for (const event of events) {
    moved = loop.next(moved.snapshot, event);
    moments.push({ snapshot: moved.snapshot, asked: moved.actions });
  }
  return moments;
}

const seen = (moments: readonly Moment[]): string =>
  JSON.stringify(
    moments.map(({ snapshot: { value, context, status }, asked }) => [
      value,
      context,
      status,
      asked,
    ]),
  );

describe("every simple path of the agent loop's chart", () => {
  it("is generated from the production machine's own graph, and passes every state of it", () => {
    expect(paths.length).toBeGreaterThan(100);
    const passed = new Set(
      paths
        .flatMap(({ steps }) => steps.map(({ state }) => state.value))
        .map((value) => JSON.stringify(value)),
    );
    expect([...passed].sort()).toEqual(
      [
        "asking",
        "calling",
        { concluding: "stuck" },
        { concluding: "capped" },
        "completed",
        "max-iterations",
        "no-progress",
        "cut-off",
        "failed",
        "budget-exceeded",
        "paused",
      ]
        .map((value) => JSON.stringify(value))
        .sort(),
    );
  });

  it("is walked alike by the compiled chart and by the interpreter [compile.agent-loop]", () => {
    const parted: string[] = [];
    for (const path of paths) {
      const events = path.steps.slice(1).map(({ event }) => event);
      const interpreted = seen(fold(agentLoopMachine, events));
      if (seen(fold(compiled, events)) !== interpreted) parted.push(interpreted);
      if (seen(walk(events)) !== interpreted) parted.push(interpreted);
    }
    expect(parted).toEqual([]);
  });

  it("keeps its caps, asks for one thing at a time, and is JSON [loop.caps]", () => {
    const faults: string[] = [];
    const { maxIterations } = loopInput.limits;
    for (const path of paths) {
      const events = path.steps.slice(1).map(({ event }) => event);
      const moments = fold(compiled, events);
      const asked = moments.flatMap((moment) => moment.asked);
      const withTools = asked.filter((type) => type === "askModel").length;
      const retold = events.filter(({ type }) => type === "model.failed").length;
      if (withTools > maxIterations + retold) faults.push(`asked ${withTools} times`);
      for (const { snapshot, asked: now } of moments) {
        const { context } = snapshot;
        const work = now.filter((type) => (loopActivities as readonly string[]).includes(type));
        if (snapshot.status === "active" && work.length !== 1 && now.length > 0)
          faults.push(`asked for ${work.join()} in ${JSON.stringify(snapshot.value)}`);
        if (context.turns.length > maxIterations + 1) faults.push("a turn past the cap");
        if (context.folded > Math.max(0, context.turns.length - 1)) faults.push("folded the last");
        if (JSON.stringify(JSON.parse(JSON.stringify(context))) !== JSON.stringify(context))
          faults.push("the context does not survive JSON");
      }
    }
    expect([...new Set(faults)]).toEqual([]);
  });

  it("ends once its neighbours are well, wherever it stands, and never as completed past a bound [loop.ends]", () => {
    const faults: string[] = [];
    for (const path of paths) {
      const actor = createActor(compiled, { input: loopInput }).start();
      for (const { event } of path.steps.slice(1)) actor.send(event);
      for (let turn = 0; actor.getSnapshot().status === "active" && turn < 20; turn += 1) {
        const { value } = actor.getSnapshot();
        const activity =
          value === "asking" ? "askModel" : value === "calling" ? "runCalls" : "askForAnswer";
        actor.send(answers[activity]);
      }
      const end = loopEnd(actor.getSnapshot());
      if (end === null) faults.push(`never ended: ${JSON.stringify(actor.getSnapshot().value)}`);
      const { turns } = actor.getSnapshot().context;
      const last = turns.at(-1);
      const isAnswer = last?.reply.toolCalls.length === 0 && last.reply.finishReason === "stop";
      if (end === "completed" && !isAnswer) faults.push("completed without an answer");
    }
    expect([...new Set(faults)]).toEqual([]);
  });
});

it("compiled and interpreted agree on random histories, events out of place among them [compile.agent-loop]", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...loopEvents), { maxLength: 20 }), (events) => {
      const interpreted = seen(fold(agentLoopMachine, events));
      expect(seen(fold(compiled, events))).toBe(interpreted);
      expect(seen(walk(events))).toBe(interpreted);
    }),
    { numRuns: 1_000 },
  );
});

it("a loop is stuck when it repeats what it did and learnt, in whatever cycle, and not when it learns [loop.no-progress]", () => {
  const digest = fc.constantFrom("a", "b", "c", "d");
  fc.assert(
    fc.property(fc.array(digest, { minLength: 1, maxLength: 12 }), (digests) => {
      const limits = { ...loopInput.limits, maxIterations: 100, maxRepeats: 3 };
      let [snapshot] = initialTransition(compiled, { limits });
      const known = new Set<string>();
      let repeats = 0;
      for (const one of digests) {
        if (snapshot.value !== "asking") break;
        repeats = known.has(one) ? repeats + 1 : 0;
        known.add(one);
        [snapshot] = transition(compiled, snapshot, answers.askModel);
        const results: LoopEvent = {
          type: "results.received",
          results: [sampleResult],
          digest: one,
        };
        [snapshot] = transition(compiled, snapshot, results);
        expect(snapshot.value).toEqual(repeats >= 3 ? { concluding: "stuck" } : "asking");
      }
    }),
  );
});

describe("making room", () => {
  const turn = fc.record({
    used: fc.integer({ min: 0, max: 3_000 }),
    lengths: fc.array(fc.integer({ min: 0, max: 3_000 }), { minLength: 1, maxLength: 3 }),
  });
  const toTurn = ({ used, lengths }: { used: number; lengths: number[] }): Turn => ({
    reply: { ...callingReply, usage: { inputTokens: used, outputTokens: 5 } },
    results: lengths.map((length) => ({ ...sampleResult, content: "x".repeat(length) })),
  });

  it("never leaves out the last turn's results, never brings back what was left out, and only makes room when it must [loop.window]", () => {
    fc.assert(
      fc.property(
        fc.array(turn, { minLength: 1, maxLength: 8 }),
        fc.nat(7),
        fc.integer({ min: 100, max: 4_000 }),
        fc.boolean(),
        (given, before, windowTokens, isTooLong) => {
          const turns = given.map(toTurn);
          const folded = Math.min(before, turns.length - 1);
          const limits = { ...loopInput.limits, windowTokens };
          const next = foldedTurns({ turns, folded, limits }, isTooLong);
          expect(next).toBeGreaterThanOrEqual(folded);
          expect(next).toBeLessThanOrEqual(turns.length - 1);
          const isFull = estimateTokens(turns, folded) > windowTokens * 0.8;
          if (!isFull && !isTooLong) expect(next).toBe(folded);
          const could = turns
            .slice(folded, -1)
            .some(({ results }) => results.some(({ content }) => isFoldable(content)));
          if (isFull && could) expect(next).toBeGreaterThan(folded);
        },
      ),
    );
  });

  it("cuts the last turn's results to what is left of the window, the longest first [loop.window]", () => {
    fc.assert(
      fc.property(
        turn,
        fc.integer({ min: 100, max: 4_000 }),
        fc.boolean(),
        (given, windowTokens, isTooLong) => {
          const whole = toTurn(given);
          const limits = { ...loopInput.limits, windowTokens };
          const [cut] = withLastCut(
            { turns: [whole], limits },
            { before: 0, folded: 0 },
            isTooLong,
          );
          const most = cut?.mostShown ?? Number.POSITIVE_INFINITY;
          const shown = given.lengths.map((length) => Math.min(length, most));
          const canBeShorter = shown.some((length) => length > keptLength);
          const isFull = estimateTokens(cut === undefined ? [] : [cut], 0) > windowTokens * 0.8 + 1;
          if (isFull && canBeShorter && !isTooLong) expect.fail("it does not fit and could");
          const isLong = given.lengths.some((length) => length > keptLength);
          if (isTooLong && isLong) expect(most).toBeLessThan(Math.max(...given.lengths));
          if (!isTooLong && estimateTokens([whole], 0) <= windowTokens * 0.8)
            expect(cut).toEqual(whole);
        },
      ),
    );
  });

  it("a conversation that the model finds too long is tried again without its older results, then with less and less of the last ones", () => {
    const tooLong = loopEvents.find(
      (event) => event.type === "model.failed" && event.failure.kind === "too_large",
    ) as LoopEvent;
    const two = [answers.askModel, answers.runCalls, answers.askModel, answers.runCalls];
    const moments = fold(compiled, [...two, ...Array.from({ length: 12 }, () => tooLong)]);
    const tried = moments.slice(two.length + 1).filter(({ asked }) => asked.includes("askModel"));
    expect(tried[0]?.snapshot).toMatchObject({ value: "asking", context: { folded: 1 } });
    const lengths = tried.map(({ snapshot }) => snapshot.context.turns.at(-1)?.mostShown ?? 1e9);
    expect(lengths.length).toBeGreaterThan(1);
    expect(lengths).toEqual([...new Set(lengths)].sort((one, other) => other - one));
    expect(moments.at(-1)?.snapshot.value).toBe("failed");
  });
});
