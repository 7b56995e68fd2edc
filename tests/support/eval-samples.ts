import { compare } from "../../evals/compare/compare.ts";
import { type GateResult, judge } from "../../evals/compare/gate.ts";
import {
  byId,
  type Sample,
  type SampledTask,
  type SampledTrial,
} from "../../evals/compare/sample.ts";
import { randomBits } from "../../evals/statistics/tests.ts";

/** Samples drawn from an agent whose every chance is known, to count how often a gate is right about it. */

export interface Agent {
  /** The chance that a trial of the task passes; `at` counts the tasks from 0. */
  passes: (at: number, ofTask: number) => number;
  /** The share of its usual effort after which it gives up, and how often it does; such a trial fails. */
  givesUp?: number;
  /** How much more it costs and does than usual. */
  effort?: number;
}

export interface Size {
  tasks: number;
  epochs: number;
  categories?: number;
  /** How many tasks share a fixture. */
  share?: number;
}

/** Numbers from 0 to 1, the same for the same seed. */
export function numbers(seed: number): () => number {
  const bits = randomBits(seed);
  return () => bits() / 2 ** 32;
}

/** @param random of the trials; what the tasks are like is the same for the same size */
export function draw(size: Size, agent: Agent, random: () => number): Sample {
  const { tasks, epochs, categories = 3, share = 1 } = size;
  const ofTasks = numbers(11);
  const drawn = Array.from({ length: tasks }, (_, at): SampledTask => {
    const chance = agent.passes(at, ofTasks());
    const effort = (4 + 12 * ofTasks()) * (agent.effort ?? 1);
    const trials = Array.from({ length: epochs }, (): SampledTrial => {
      const gaveUp = random() < (agent.givesUp ?? 0);
      const passed = !gaveUp && random() < chance;
      const took = effort * (0.6 + 0.8 * random()) * (gaveUp ? 0.25 : 1);
      return {
        passed,
        score: passed ? 1 : random() * 0.6,
        steps: Math.ceil(took / 2),
        tool_calls: Math.ceil(took),
        output_tokens: Math.ceil(took * 200),
        cost_microusd: Math.ceil(took * 1_500),
        duration_ms: took * 1_000 * (0.5 + random()),
      };
    });
    return {
      id: `task-${String(at).padStart(3, "0")}`,
      category: `category-${at % categories}`,
      cluster: String(Math.floor(at / share)),
      trials,
      uncounted: 0,
    };
  });
  return sample(drawn, { epochs });
}

export const sample = (tasks: readonly SampledTask[], other: Partial<Sample> = {}): Sample => ({
  id: "eval_1",
  suite: "regression",
  agent: "safe-pr-agent",
  mock: false,
  complete: true,
  epochs: 3,
  ended_at: "2026-11-26T05:00:00.000Z",
  gates: {},
  locks: {},
  tasks: [...tasks].sort(byId),
  ...other,
});

export const gate = (before: Sample, after: Sample): GateResult =>
  judge(compare(before, after), [before, after]);

/** The share of simulated comparisons that the gate fails. */
export function failing(size: Size, before: Agent, after: Agent, times: number, seed = 1): number {
  const random = numbers(seed);
  let failed = 0;
  for (let at = 0; at < times; at += 1) {
    if (!gate(draw(size, before, random), draw(size, after, random)).passed) failed += 1;
  }
  return failed / times;
}

/** Agents that differ in how steady their tasks are: all alike, any chance, and mostly sure ones. */
export const agents: Readonly<Record<string, Agent>> = {
  "each task 80 %": { passes: () => 0.8 },
  "any chance": { passes: (_at, ofTask) => ofTask },
  "mostly sure": {
    passes: (_at, ofTask) => (ofTask < 0.15 ? 0.05 : ofTask < 0.4 ? 0.3 + ofTask : 0.98),
  },
};

/** The same agent, its every chance so much lower. */
export const worse = (agent: Agent, by: number): Agent => ({
  ...agent,
  passes: (at, ofTask) => Math.max(0, agent.passes(at, ofTask) - by),
});
