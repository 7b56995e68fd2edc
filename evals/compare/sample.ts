import type { EvalReport, Gates, ReportedTask, Trial } from "../contracts.ts";

/*
 * What a comparison reads of an eval: the trials that count, with what each cost. A report and a committed baseline both
 * become one, so that neither is compared in a way of its own.
 */

/** A trial that counts: it was judged, or it was cancelled at its limit, which is a failure. */
export interface SampledTrial {
  passed: boolean;
  /** Null where no score applied; 0 where the time was up before anything could be judged. */
  score: number | null;
  /** What it took, null where nobody saw it. */
  steps: number | null;
  tool_calls: number | null;
  output_tokens: number | null;
  cost_microusd: number | null;
  duration_ms: number | null;
}

export interface SampledTask {
  id: string;
  category: string;
  cluster: string;
  trials: readonly SampledTrial[];
  /** Trials that the infrastructure broke, and trials of which no scorer could judge anything: they count for nothing. */
  uncounted: number;
}

export interface Sample {
  /** Of the eval that it comes from. */
  id: string;
  suite: string;
  agent: string;
  mock: boolean;
  complete: boolean;
  stopped_because?: string;
  epochs: number;
  ended_at: string;
  gates: Gates;
  locks: Readonly<Record<string, string>>;
  /** By id. */
  tasks: readonly SampledTask[];
}

/** Trials that count for something: broken ones, and those of which nothing was judged, do not. */
export const counts = (trial: Trial): boolean =>
  trial.status === "timed_out" || (trial.status === "scored" && trial.score !== null);

export function sampleOf(report: EvalReport): Sample {
  const { id, suite, agent, mock, complete, epochs, ended_at, gates, locks } = report;
  return {
    id,
    suite,
    agent,
    mock: mock || report.control_plane === "mock",
    complete: complete && report.tasks.every((task) => isWhole(task, epochs)),
    ...(report.stopped_because !== undefined && { stopped_because: report.stopped_because }),
    epochs,
    ended_at,
    gates,
    locks,
    tasks: report.tasks.map(taskOf).sort(byId),
  };
}

/** Each of its trials is there, and once. */
const isWhole = ({ id, trials }: ReportedTask, epochs: number): boolean =>
  trials.length === epochs &&
  new Set(trials.map(({ epoch }) => epoch)).size === epochs &&
  trials.every(({ task_id, epoch }) => task_id === id && epoch < epochs);

function taskOf({ id, category, cluster, trials }: ReportedTask): SampledTask {
  const counted = trials.filter(counts);
  const uncounted = trials.length - counted.length;
  return { id, category, cluster, trials: counted.map(trialOf), uncounted };
}

function trialOf({ status, passed, score, observation }: Trial): SampledTrial {
  const isScored = status === "scored";
  const { steps, usage, duration_ms = null } = observation ?? {};
  return {
    passed: isScored && passed,
    score: rounded(isScored ? score : (score ?? 0), (value) => value.toFixed(4)),
    steps: steps?.length ?? null,
    tool_calls: usage?.tool_calls ?? null,
    output_tokens: usage?.output_tokens ?? null,
    cost_microusd: usage?.cost_microusd ?? null,
    duration_ms: rounded(duration_ms, (value) => value.toPrecision(3)),
  };
}

/** As a baseline keeps it: a comparison must not take what was rounded away for a change. */
const rounded = (value: number | null, toText: (value: number) => string): number | null =>
  value === null ? null : Number(toText(value));

/** One order everywhere, whatever the machine's language. */
export const byId = ({ id: one }: { id: string }, { id: other }: { id: string }): number =>
  one < other ? -1 : Number(one > other);

/** How many of the trials passed. */
export const passesOf = ({ trials }: SampledTask): number =>
  trials.filter(({ passed }) => passed).length;

/** The mean of what is known; null where nothing is. */
export function meanOf(values: readonly (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length === 0 ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
