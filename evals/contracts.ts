import type { Json, JsonObject } from "../machines/contracts/domain/json.ts";

/*
 * The words of an eval, shared by all of this folder: a task says what an agent is asked and what is expected; a trial
 * is one run of a task; an observation is what really happened in it, gathered from the control plane and the folder
 * of the task; scores are judgements of an observation; a report is all of these, and the one thing that comparisons,
 * gates and pages read. Reports are JSON with snake_case names, so that they read as FerrumDeck's datasets do.
 */

/** How approvals are answered while an eval runs; `none` leaves them open until the trial's time is up. */
export type ApprovalAnswers = "approve" | "reject" | "none";

/** What a suite demands of a report beside its baseline. */
export interface Gates {
  /** From 0 to 1. */
  pass_rate_threshold?: number;
  max_cost_increase_percent?: number;
  /** Each category alone reaches the threshold too. */
  require_all_categories_pass?: boolean;
  /** How many of a hundred trials may be broken before nothing can be said (default 5). */
  max_broken_percent?: number;
  /** The agent answers the same each time, as with a scripted model: one task that falls is then no chance. */
  deterministic?: boolean;
}

/** One line of a dataset. */
export interface EvalTask {
  id: string;
  name: string;
  description: string;
  input: JsonObject;
  /** What scorers hold an observation to; which of its keys nobody reads is named before a suite runs. */
  expected: JsonObject;
  difficulty: string;
  category: string;
  tags: readonly string[];
  /** Settings of this task alone, such as its budget or time-out. */
  config: JsonObject;
  /** A repository or folder made ready for each trial: a git bundle or a folder, beside the dataset. */
  fixture?: string;
  /** Where the task was read, for messages. */
  from: { file: string; line: number };
}

/** A call of a tool in a trial, in the order in which the calls began. */
export interface ObservedCall {
  tool: string;
  server?: string;
  arguments: Json;
  verdict: "allow" | "ask" | "deny";
  /** `refused` was never begun; `approved` calls that a person answered count by what came of them. */
  outcome: "ok" | "failed" | "refused";
  result?: Json;
  started_at?: string;
  duration_ms?: number;
}

/** A step of the run, with the states it passed in order. */
export interface ObservedStep {
  id: string;
  name?: string;
  type: string;
  status: string;
  states: readonly { state: string; at: string }[];
  output?: Json;
  error?: JsonObject;
}

/** What really happened in a trial. What nobody could see is absent, and is not guessed. */
export interface Observation {
  run_id?: string;
  run_status: string;
  output: Json;
  steps?: readonly ObservedStep[];
  calls?: readonly ObservedCall[];
  audit?: readonly JsonObject[];
  files?: { changed: readonly string[]; created: readonly string[]; deleted: readonly string[] };
  diff?: string;
  pull_request?: { url?: string; number?: number; title?: string; description?: string };
  tests?: { passed: number; failed: number; total: number };
  coverage?: { before: number; after: number };
  lint?: { errors: number; warnings: number };
  types?: { errors: number };
  /** Why a check of the trial's folder could not be made, such as that no sandbox works here. */
  unseen?: Partial<Record<"tests" | "coverage" | "lint" | "types", string>>;
  /** Null for what nobody counted: it is not 0. */
  usage: {
    input_tokens: number | null;
    output_tokens: number | null;
    tool_calls: number | null;
    /** Integer micro-dollars; null too where the price of a model is not known. */
    cost_microusd: number | null;
  };
  /** How many of its questions to a person were answered, and how. */
  approvals?: { approved: number; rejected: number };
  duration_ms: number;
}

export interface Score {
  scorer: string;
  /** From 0 to 1. */
  score: number;
  passed: boolean;
  /** A required score that did not pass fails the trial, whatever the mean says. */
  required: boolean;
  weight: number;
  /** One sentence for a person. */
  message: string;
  details?: JsonObject;
  /**
   * Why it counts for nothing in the mean. `passed` tells why: true where it does not apply to this task, false where
   * nobody could see what it judges.
   */
  skipped?: string;
}

/** Judges one observation of one task. A scorer that throws fails its own score alone, with the cause. */
export interface Scorer {
  name: string;
  /** The keys of `expected` that it reads. */
  reads: readonly string[];
  /**
   * What it needs that only some runs can show, such as `tests`. Where the observation has none of it, the scorer is not
   * asked: the score is skipped and not passed, so that a required one fails the trial.
   */
  needs?: readonly (keyof Observation)[];
  /** Whether the task expects what it judges; left out where every task does. A score that does not apply is skipped. */
  applies?: (task: EvalTask) => boolean;
  /** Digest of what its judgement depends on beyond its parameters, such as a judge's prompt and model. */
  lock?: string;
  score: (
    task: EvalTask,
    seen: Observation,
    signal: AbortSignal,
  ) => Promise<ScoreGiven> | ScoreGiven;
}

/** What a scorer answers; name, weight and whether it is required are the suite's. */
export type ScoreGiven = Pick<Score, "score" | "passed" | "message" | "details" | "skipped">;

export interface Trial {
  task_id: string;
  /** From 0: which of the suite's repetitions this is. */
  epoch: number;
  /**
   * `scored` ended by its own doing and was judged; `timed_out` was cancelled at its limit and counts as failed;
   * `broken` is the infrastructure's fault: it counts for nothing, is counted and shown, and makes a gate fail where
   * too many are.
   */
  status: "scored" | "timed_out" | "broken";
  passed: boolean;
  /** The weighted mean of the scores that were not skipped; null where there is none. */
  score: number | null;
  scores: readonly Score[];
  /** A judge was played by a script, and no model was asked. */
  is_judge_scripted?: boolean;
  observation?: Observation;
  /** How often the infrastructure failed before this answer. */
  retries: number;
  /**
   * Micro-dollars of all that was done for it: each try, and its judges. Null where some price is not known. What its
   * answer alone cost is the observation's.
   */
  cost_microusd?: number | null;
  /** Served from the cache of earlier responses. */
  cached?: boolean;
  error?: string;
  started_at: string;
  ended_at: string;
}

export interface ReportedTask {
  id: string;
  name: string;
  category: string;
  difficulty: string;
  tags: readonly string[];
  /** Tasks with one fixture are not independent: their errors are computed by cluster. Its digest, or the task's id. */
  cluster: string;
  trials: readonly Trial[];
}

/** What an eval leaves on disk. */
export interface EvalReport {
  format: "stateplane-eval/1";
  id: string;
  suite: string;
  agent: string;
  /** The runs were made up: said in every output, and never good for a gate. */
  mock: boolean;
  /** Where the runs were made: `embedded`, `in-process`, or the address of a control plane. */
  control_plane: string;
  started_at: string;
  ended_at: string;
  /** False where it was stopped or met a limit before all trials were made. */
  complete: boolean;
  stopped_because?: string;
  epochs: number;
  approvals: ApprovalAnswers;
  gates: Gates;
  /** Digests of what the result depends on: dataset, suite, agent, and each judge by name. */
  locks: Readonly<Record<string, string>>;
  /** Keys of `expected` that no scorer of the suite reads, with how many tasks have each. */
  unread_expectations: Readonly<Record<string, number>>;
  /** Lines of datasets that were passed over, where that was allowed. */
  bad_lines: readonly { file: string; line: number; problem: string }[];
  tasks: readonly ReportedTask[];
}
