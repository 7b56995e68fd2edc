/** `stateplane/evals`: suites and scorers in TypeScript. */
import type { Json, JsonObject } from "../machines/contracts/domain/json.ts";
import type { ModelProvider } from "../machines/contracts/ports/model-provider.ts";
import type { ApprovalAnswers, EvalTask, Gates, Observation, Scorer } from "./contracts.ts";

export type {
  ApprovalAnswers,
  EvalReport,
  EvalTask,
  Gates,
  Observation,
  ObservedCall,
  ObservedStep,
  ReportedTask,
  Score,
  ScoreGiven,
  Scorer,
  Trial,
} from "./contracts.ts";

/** Which tasks of a dataset are run; a task must be in every list that is given. */
export interface TaskFilter {
  categories?: string[];
  /** With at least one of these. */
  tags?: string[];
  difficulty?: string[];
  ids?: string[];
}

/** An entry of a suite's `scorers`: its type, how much it counts, and its parameters. */
export interface ScorerEntry {
  type: string;
  name?: string;
  /** 1 unless said. */
  weight?: number;
  /** True unless said: a trial fails where it does not pass. */
  required?: boolean;
  [parameter: string]: Json | undefined;
}

export interface SuiteSettings {
  /** Of one trial, in milliseconds; 300,000 unless said. A trial that takes longer is cancelled and counts as failed. */
  timeout_ms?: number;
  /** How many trials run at a time; 1 unless said. */
  max_parallel?: number;
  /** How often each task is run; once unless said. */
  runs?: number;
  /** How often a trial is tried again that the infrastructure broke; 2 unless said. */
  retries?: number;
  /** `none` unless said. */
  approvals?: ApprovalAnswers;
  /** The mean score that a trial needs to pass, beside its required scorers; 0.5 unless said. */
  pass_threshold?: number;
  /** Where the folders of trials are made, for workers elsewhere that share it; a folder of the eval's own unless said. */
  workspace?: string;
}

/** What a function under test answers: its output, and whatever of an observation it knows. */
export type Answered = { output: Json } & Partial<Omit<Observation, "output">>;

/** Where one trial is made. */
export interface TrialPlace {
  /** The folder of the task's fixture, made ready; null where the task has none. */
  folder: string | null;
  epoch: number;
  /** Aborted when the trial's time is up, or the eval is stopped. */
  signal: AbortSignal;
}

export interface SuiteDefinition {
  name: string;
  description?: string;
  /** The agent that runs the tasks; `assistant` unless said. */
  agent?: string;
  /** Files and folders beside the suite. */
  datasets?: { path: string; filter?: TaskFilter; limit?: number }[];
  /** Tasks in place of a dataset's, or beside them; the same keys as a dataset's line. */
  tasks?: JsonObject[];
  scorers: (ScorerEntry | Scorer)[];
  settings?: SuiteSettings;
  gates?: Gates;
  /** The workflow that each task is the input of, a file; without one a task is a run of the agent. */
  workflow?: string;
  /**
   * The configuration of the data plane that is started for the eval: a file, or what makes one for the folder that holds
   * those of the trials. In a file `${STATEPLANE_EVAL_WORKSPACE}` is that folder.
   */
  config?: string | ((place: { workspace: string }) => object);
  /** Answers in place of every model, in the data plane that is started for the eval. */
  model?: ModelProvider;
  /** What is tested, in this process; no control plane takes part then. */
  run?: (task: EvalTask, place: TrialPlace) => Promise<Answered> | Answered;
}

/**
 * A suite of evals, with its keys checked as they are typed; a file in `evals/suites` exports one as its default.
 *
 * @example
 * import { defineSuite } from "stateplane/evals";
 *
 * export default defineSuite({
 *   name: "greetings",
 *   tasks: [{ id: "hello", input: { name: "Ada" }, expected: { output: "Hello, Ada" } }],
 *   scorers: [{ type: "expected_output_match" }],
 *   run: ({ input }) => ({ output: `Hello, ${String(input["name"])}` }),
 * });
 */
export function defineSuite(suite: SuiteDefinition): SuiteDefinition {
  return suite;
}
