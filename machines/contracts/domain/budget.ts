import { type } from "arktype";
import { once } from "./once.ts";
import { type Json, type JsonObject, notList } from "./json.ts";
import { shapeProblems } from "./shape-problems.ts";
import type { Usage } from "./step-result.ts";

/** Limits of a run, an agent or a step, in the words of the wire; null for no limit. */
export interface Budget {
  max_input_tokens: number | null;
  max_output_tokens: number | null;
  max_total_tokens: number | null;
  max_tool_calls: number | null;
  max_wall_time_ms: number | null;
  max_cost_cents: number | null;
  /** Ours, for limits below a cent; where both are set, both hold. */
  max_cost_micros: number | null;
}

const bound = "number.integer >= 0 | null";
export const budgetShape = type({
  "max_input_tokens?": bound,
  "max_output_tokens?": bound,
  "max_total_tokens?": bound,
  "max_tool_calls?": bound,
  "max_wall_time_ms?": bound,
  "max_cost_cents?": bound,
  "max_cost_micros?": bound,
}).narrow(notList);

/** What counts against a budget. */
export interface Spent {
  inputTokens: number;
  outputTokens: number;
  toolCalls: number;
  /** Milliseconds since it began, less the time it waited for people. */
  wallTimeMs: number;
  costMicros: number;
}

export const nothingSpent: Spent = {
  inputTokens: 0,
  outputTokens: 0,
  toolCalls: 0,
  wallTimeMs: 0,
  costMicros: 0,
};

export const microsPerCent = 10_000;

/** A limit that was passed, or that the next call would pass. */
export interface BrokenLimit {
  limit: keyof Budget;
  used: number;
  most: number;
  /** One line for a person. */
  message: string;
}

/** The first limit that was passed (strictly); null when all hold. */
export function brokenLimit(budget: Partial<Budget>, spent: Spent): BrokenLimit | null {
  const total = spent.inputTokens + spent.outputTokens;
  const { costMicros } = spent;
  const measures: [keyof Budget, string, number, (amount: number) => string][] = [
    ["max_input_tokens", "input tokens", spent.inputTokens, String],
    ["max_output_tokens", "output tokens", spent.outputTokens, String],
    ["max_total_tokens", "tokens", total, String],
    ["max_tool_calls", "tool calls", spent.toolCalls, String],
    ["max_wall_time_ms", "wall time", spent.wallTimeMs, (ms) => `${Math.ceil(ms)} ms`],
    ["max_cost_cents", "cost", costMicros / microsPerCent, (cents) => `$${cents / 100}`],
    ["max_cost_micros", "cost", costMicros, (micros) => `$${micros / 1_000_000}`],
  ];
  for (const [limit, what, used, written] of measures) {
    const most = budget[limit] ?? null;
    if (most === null || used <= most) continue;
    const message = `budget exceeded: ${what} ${written(used)} of ${written(most)}`;
    return { limit, used, most, message };
  }
  return null;
}

/** All limits of two budgets that hold together; where one has no limit, the other's. */
export function stricterBudget(first: Partial<Budget>, second: Partial<Budget>): Partial<Budget> {
  const limits = new Map<string, number>();
  for (const [limit, most] of [...Object.entries(first), ...Object.entries(second)]) {
    if (most !== null) limits.set(limit, Math.min(most, limits.get(limit) ?? most));
  }
  return Object.fromEntries(limits);
}

/** Two amounts together. The wall time is the longer of both: they pass at the same time. */
export function addSpent(first: Spent, second: Partial<Spent>): Spent {
  return {
    inputTokens: first.inputTokens + (second.inputTokens ?? 0),
    outputTokens: first.outputTokens + (second.outputTokens ?? 0),
    toolCalls: first.toolCalls + (second.toolCalls ?? 0),
    wallTimeMs: Math.max(first.wallTimeMs, second.wallTimeMs ?? 0),
    costMicros: first.costMicros + (second.costMicros ?? 0),
  };
}

/** What a model call used, as it counts against a budget. */
export const spentOf = ({ inputTokens, outputTokens, costMicros = 0 }: Usage): Partial<Spent> => ({
  inputTokens,
  outputTokens,
  costMicros,
});

/**
 * What is wrong with limits where they come in; null when nothing is. A word that nobody knows would be no limit, in
 * silence. What was taken once is read by {@link readBudget}, which passes over such words: the run has begun.
 */
export function budgetProblem(asked: Json | undefined, name: string): string | null {
  if (asked === undefined || asked === null) return null;
  const [found] = shapeProblems(asked, budgetShape);
  return found === undefined ? null : `${[name, ...found.path].join(".")}: ${found.problem}`;
}

/** Made once: the making takes a thousand times as long as a reading. */
const budgetAlone = once(() => budgetShape.onDeepUndeclaredKey("delete"));

/**
 * The limits in `budget` of a run's configuration or a step's input; none where it has none.
 *
 * @throws TypeError when a limit is not a whole number of at least 0
 */
export function readBudget(holder: JsonObject | null, name = "config.budget"): Partial<Budget> {
  const asked = holder?.["budget"];
  if (asked === undefined || asked === null) return {};
  const read = budgetAlone()(asked);
  if (read instanceof type.errors) throw new TypeError(`${name}: ${read.summary}`);
  return read;
}

/**
 * An amount of money as people read it: whole cents from a dollar on (`$12.35`), and below with as many digits as the
 * amount has, so that what costs less than a cent is shown as that (`$0.00012`) and never as one.
 */
export function dollars(micros: number): string {
  if (!Number.isFinite(micros)) return "unknown";
  if (micros < 0) return `-${dollars(-micros)}`;
  const whole = Math.floor(micros);
  // Cut, never rounded up: nobody is shown an amount that was not spent.
  if (whole >= 1_000_000) return `$${(Math.floor(whole / microsPerCent) / 100).toFixed(2)}`;
  const digits = (whole / 1_000_000).toFixed(6).replace(/0{1,4}$/u, "");
  return `$${digits}`;
}
