import { createHash } from "node:crypto";
import { type } from "arktype";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { EvalTask, Observation, ScoreGiven } from "../contracts.ts";
import { type JudgeModel, judgesRules, points } from "./ask-judge.ts";

/** Parameters that every judge takes. */
export const common = {
  "rubric?": "string > 0",
  "temperature?": "0 <= number <= 2",
  "max_tokens?": "number.integer > 0",
  "threshold?": "0 <= number <= 1",
  "show?": type("'output' | 'diff' | 'files' | 'calls' | 'pull_request'").array().atLeastLength(1),
} as const;

export type Shown = "output" | "diff" | "files" | "calls" | "pull_request";

export const usualShow: readonly Shown[] = ["output", "diff"];

export const defaultRubric =
  "Judge whether the work does what the task asks: completely, correctly, and nothing beside it.";

/** What a judge is shown of a trial. */
export function dataOf(
  task: EvalTask,
  seen: Observation,
  show: readonly Shown[],
): Record<string, Json> {
  const shown = show.flatMap((key) => {
    const value = seen[key] as Json | undefined;
    return value === undefined || value === null ? [] : [[`work_${key}`, value] as const];
  });
  return {
    task: { description: task.description, input: task.input },
    ...Object.fromEntries(shown),
  };
}

/** Digest of all that a judgement depends on beside what is judged. */
export const lockOf = (parts: JsonObject): string =>
  createHash("sha256")
    .update(JSON.stringify({ rules: judgesRules, points, ...parts }))
    .digest("hex");

export const broken = ({ message }: Failure): ScoreGiven => {
  const why = `the judge gave no judgement: ${message}`;
  return { score: 0, passed: false, message: `${why}.`, skipped: why, details: { broken: true } };
};

/** Of a trial that has none of what the judge is shown. */
export const unseen = (show: readonly Shown[]): ScoreGiven => {
  const why = `there is no ${show.join(" and no ")} to judge`;
  return { score: 0, passed: false, message: `${why}.`, skipped: why };
};

export const judgeOf = (
  model: string,
  { temperature, max_tokens: maxTokens }: { temperature?: number; max_tokens?: number },
): JudgeModel => ({
  model,
  ...(temperature === undefined ? {} : { temperature }),
  ...(maxTokens === undefined ? {} : { maxTokens }),
});
