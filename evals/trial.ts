import { isJsonObject, type Json, type JsonObject } from "../machines/contracts/domain/json.ts";
import type { EvalTask, Observation } from "./contracts.ts";
import type { TrialFolder } from "./fixtures.ts";

/** One trial that is to be made. */
export interface TrialRequest {
  task: EvalTask;
  epoch: number;
  /** Of this try: the same as before only where the same try is asked for again. */
  key: string;
  folder: TrialFolder | null;
  /** Told as soon as the run is there. */
  onRun: (runId: string) => Promise<void>;
  /** Aborted when its time is up, or the eval is stopped: the run is cancelled then. */
  signal: AbortSignal;
}

/** How a try ended. */
export type TrialAnswer =
  | { kind: "seen"; observation: Observation }
  /** The infrastructure's fault. */
  | { kind: "broken"; problem: string; mayPass: boolean; observation?: Observation }
  /** No trial of this eval can be made so: an agent that does not exist, a key that is refused. */
  | { kind: "refused"; problem: string };

/** Makes trials: by a control plane, in this process, or made up. */
export interface TrialRunner {
  /** Where the runs are made, for the report. */
  readonly place: string;
  run(request: TrialRequest): Promise<TrialAnswer>;
  /** Ends a run that an eval before this one left. */
  cancel?(runId: string): Promise<void>;
}

/** A task's value with the name of the trial's folder in the place of `{{repo}}`. */
export function placed(value: Json, name: string): Json {
  if (typeof value === "string") return value.replaceAll("{{repo}}", name);
  if (Array.isArray(value)) return value.map((item) => placed(item, name));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, placed(item, name)]));
}

/** What a run of the task is given: `repo` is the folder of the trial, where it has one. */
export function inputOf({ input }: EvalTask, folder: TrialFolder | null): JsonObject {
  if (folder === null) return input;
  return { ...(placed(input, folder.name) as JsonObject), repo: folder.name };
}
