import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type } from "arktype";
import { parseJson } from "../machines/contracts/domain/json.ts";
import { messageOf } from "../machines/contracts/domain/users-code.ts";
import { type Checkpoints, trialKey } from "./checkpoints.ts";
import type { EvalTask, Observation, Score, Trial } from "./contracts.ts";
import { type Checks, checkFolder, type Needs, needsOf } from "./checks.ts";
import { fixtureOf, prepareFolder, type TrialFolder, type Workplace } from "./fixtures.ts";
import { observationShape } from "./report-file.ts";
import { judge, verdictOf, wrongEnd } from "./scorers/judging.ts";
import { addCosts, type Cost, measured } from "./spending.ts";
import type { Suite } from "./suite.ts";
import type { TrialAnswer, TrialRunner } from "./trial.ts";

export interface EvalOptions {
  suite: Suite;
  runner: TrialRunner;
  checkpoints: Checkpoints;
  /** Observations of earlier evals, under what they depend on; null to make every trial. */
  cache: {
    find(task: EvalTask, epoch: number): Promise<Observation | null>;
    keep(task: EvalTask, epoch: number, seen: Observation): Promise<void>;
  } | null;
  workplace: Workplace;
  /** Looks at a folder with the programs of its project; null where there are none to do it. */
  checks: Checks | null;
  /** Micro-dollars; null for no limit. */
  maxCost: number | null;
  /** Told of each trial that is over, those of an earlier eval first. */
  onTrial: (trial: Trial, progress: { done: number; all: number; isEarlier: boolean }) => void;
  /** Aborted where the eval is to stop; its reason is told. */
  signal: AbortSignal;
}

const startApartMs = 10;

export interface EvalEnd {
  trials: readonly Trial[];
  /** Null where every trial was made. */
  stopped: string | null;
  /** No trial could be made at all: what to mend. */
  refused: string | null;
}

/**
 * Makes every trial that was not made before, as many at a time as the suite says, each epoch of all tasks before the
 * next one. A trial that fails takes no other with it.
 */
export async function runEval(options: EvalOptions): Promise<EvalEnd> {
  const { suite, checkpoints, signal, maxCost } = options;
  const { settings, tasks } = suite;
  const trials: Trial[] = [];
  const waiting: { task: EvalTask; epoch: number }[] = [];
  const all = tasks.length * settings.runs;
  let cost = 0;
  let stopped: string | null = null;
  let refused: string | null = null;
  const add = (trial: Trial, isEarlier: boolean) => {
    trials.push(trial);
    const spent = trial.cost_microusd ?? null;
    cost += spent ?? 0;
    if (maxCost !== null && spent === null) stopped ??= unknownCost(trial);
    options.onTrial(trial, { done: trials.length, all, isEarlier });
  };
  for (let epoch = 0; epoch < settings.runs; epoch += 1) {
    for (const task of tasks) {
      const known = checkpoints.finished.get(trialKey({ task_id: task.id, epoch }));
      if (known === undefined) waiting.push({ task, epoch });
      else add(known, true);
    }
  }
  for (const runId of checkpoints.left) await options.runner.cancel?.(runId).catch(() => {});
  const needs = needsOf(suite.scorers);
  const work = async (_: unknown, place: number) => {
    // Not all at once: what trials need of this process's time, they would then need at the same moments for ever.
    await sleep(place * startApartMs, undefined, { signal }).catch(() => {});
    for (;;) {
      if (maxCost !== null && cost >= maxCost && waiting.length > 0)
        stopped ??= `the trials had cost ${dollars(cost)}, and the limit is ${dollars(maxCost)}`;
      if (signal.aborted) stopped ??= String(signal.reason);
      const next = stopped === null && refused === null ? waiting.shift() : undefined;
      if (next === undefined) return;
      const made = await makeTrial(next.task, next.epoch, options, needs);
      if (typeof made !== "string") {
        await checkpoints.finish(made);
        add(made, false);
      } else if (signal.aborted) stopped ??= String(signal.reason);
      else refused ??= made;
    }
  };
  const places = Array.from({ length: Math.min(settings.max_parallel, waiting.length) });
  await Promise.all(places.map(work));
  return { trials, stopped, refused };
}

const unknownCost = ({ task_id: id }: Trial) =>
  `nobody knows what the trial of ${id} cost, and --max-cost limits it; give the prices of its models and judges (\`prices\`), have the suite's \`run\` answer \`usage.cost_microusd\`, or leave --max-cost out`;

export const dollars = (micros: number): string => `$${(micros / 1_000_000).toFixed(4)}`;

/** @returns why none can be made, a text: nothing of it is kept then */
async function makeTrial(
  task: EvalTask,
  epoch: number,
  options: EvalOptions,
  needs: Needs,
): Promise<Trial | string> {
  const { suite, cache, signal } = options;
  const { retries, pass_threshold: threshold } = suite.settings;
  const started_at = new Date().toISOString();
  const base = { task_id: task.id, epoch, started_at, scores: [], passed: false };
  let cost: Cost = 0;
  const ended = () => ({ cost_microusd: cost, ended_at: new Date().toISOString() });
  const scored = async (observation: Observation, more: Pick<Trial, "retries" | "cached">) => {
    const judged = await measured(() => judgeInTime(suite, task, observation, signal));
    if (signal.aborted) return String(signal.reason);
    cost = addCosts(cost, judged.cost);
    const scores = judged.value;
    const verdict = verdictOf(scores, threshold);
    const status = "scored" as const;
    const scripted = judged.isScripted ? { is_judge_scripted: true } : {};
    return { ...base, status, ...verdict, scores, ...scripted, observation, ...more, ...ended() };
  };
  const known = (await cache?.find(task, epoch)) ?? null;
  if (known !== null) return scored(known, { retries: 0, cached: true });
  for (let tried = 0; ; tried += 1) {
    const { answer, isLate, isMade } = await tryOnce(task, epoch, options, needs);
    if (signal.aborted) return String(signal.reason);
    if (answer.kind === "refused") return answer.problem;
    const spent = answer.observation?.usage.cost_microusd ?? null;
    cost = addCosts(cost, isMade ? spent : 0);
    const seen = answer.observation === undefined ? {} : { observation: answer.observation };
    const more = { ...seen, retries: tried };
    if (isLate) {
      const error = `it was cancelled after ${timeoutOf(task, suite)} ms, its limit`;
      return { ...base, status: "timed_out", score: 0, ...more, error, ...ended() };
    }
    if (answer.kind === "seen") {
      // What can't be kept is made again another time.
      await cache?.keep(task, epoch, answer.observation).catch(() => {});
      return scored(answer.observation, { retries: tried });
    }
    if (!answer.mayPass || tried >= retries) {
      const { problem: error } = answer;
      return { ...base, status: "broken", score: null, ...more, error, ...ended() };
    }
    await sleep(pauseAfter(tried), undefined, { signal }).catch(() => {});
  }
}

/** Longer each time: what is away for a while is back only then. */
const pauseAfter = (tried: number): number => Math.min(1_000 * 4 ** tried, 60_000);

/** Scorers have as long as a trial has; one that takes longer fails. */
async function judgeInTime(
  suite: Suite,
  task: EvalTask,
  observation: Observation,
  signal: AbortSignal,
): Promise<Score[]> {
  const late = new AbortController();
  const limit = timeoutOf(task, suite);
  const timer = setTimeout(() => late.abort(new Error(`it took over ${limit} ms`)), limit);
  try {
    const until = AbortSignal.any([signal, late.signal]);
    const scores = await judge(suite.scorers, task, observation, until);
    return [...scores, ...wrongEnd(task, observation)];
  } finally {
    clearTimeout(timer);
  }
}

/** What is seen is kept and read again: what a runner gives in another shape makes its trial broken, and no report unreadable. */
function keepable(answer: TrialAnswer): TrialAnswer {
  if (answer.kind === "refused" || answer.observation === undefined) return answer;
  const { observation: given, ...rest } = answer;
  const read = parseJson(JSON.stringify({ ...given, output: given.output ?? null }));
  const wrong = read.ok ? observationShape(read.value) : null;
  const observation = wrong as Observation | null;
  if (observation !== null && !(wrong instanceof type.errors))
    return { ...rest, observation } as TrialAnswer;
  if (answer.kind === "broken")
    return { kind: "broken", problem: answer.problem, mayPass: answer.mayPass };
  const why = wrong instanceof type.errors ? wrong.summary.replaceAll("\n", "; ") : "it is no JSON";
  return { kind: "broken", problem: `what the run answered can't be used: ${why}`, mayPass: false };
}

function timeoutOf({ config }: EvalTask, { settings }: Suite): number {
  const own = config["timeout_ms"];
  return typeof own === "number" && own >= 1 ? Math.min(own, 2 ** 31 - 1) : settings.timeout_ms;
}

let tries = 0;

/** One try, in a folder of its own. */
async function tryOnce(
  task: EvalTask,
  epoch: number,
  { suite, runner, workplace, checks, checkpoints, signal }: EvalOptions,
  needs: Needs,
): Promise<{ answer: TrialAnswer; isLate: boolean; isMade: boolean }> {
  tries += 1;
  const name = `${folderName(task.id)}-${process.pid}-${tries}`;
  let folder: TrialFolder | null = null;
  // What was never begun cost nothing.
  let isMade = false;
  const late = new AbortController();
  try {
    const fixture = fixtureOf(task);
    if (fixture !== null) folder = await prepareFolder(fixture, workplace, name);
    const before = await checkFolder(checks, folder, needs.before(task), signal);
    const timer = setTimeout(() => late.abort(), timeoutOf(task, suite));
    const request = {
      task,
      epoch,
      folder,
      key: `eval-${randomUUID()}`,
      onRun: (runId: string) => {
        isMade = true;
        return checkpoints.started(trialKey({ task_id: task.id, epoch }), runId);
      },
      signal: AbortSignal.any([signal, late.signal]),
    };
    const answered = await runner.run(request).finally(() => clearTimeout(timer));
    isMade ||= answered.kind === "seen";
    const answer = keepable(answered);
    if (answer.kind !== "seen" || late.signal.aborted || signal.aborted)
      return { answer, isLate: late.signal.aborted && answer.kind === "seen", isMade };
    const seen = { ...answer.observation, ...(await folder?.look()) };
    const after = await checkFolder(checks, folder, needs.after(task), signal);
    const { coverage: percent, ...found } = after;
    const coverage =
      before.coverage === undefined || percent === undefined
        ? {}
        : { coverage: { before: before.coverage, after: percent } };
    const unseen = { ...before.unseen, ...after.unseen };
    const why = Object.keys(unseen).length > 0 ? { unseen } : {};
    return {
      answer: { kind: "seen", observation: { ...seen, ...found, ...coverage, ...why } },
      isLate: false,
      isMade,
    };
  } catch (error) {
    const answer = { kind: "broken", problem: messageOf(error), mayPass: false } as const;
    return { answer, isLate: false, isMade };
  } finally {
    await folder?.remove().catch(() => {});
  }
}

/** Of an id that may hold anything. */
const folderName = (id: string): string => id.replaceAll(/[^A-Za-z0-9_-]+/gu, "-").slice(-40);
