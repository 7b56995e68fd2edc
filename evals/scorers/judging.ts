import { messageOf } from "../../machines/contracts/domain/users-code.ts";
import type { EvalTask, Observation, Score, ScoreGiven, Scorer, Trial } from "../contracts.ts";
import type { SuiteScorer } from "./registry.ts";

/** Judges one observation by every scorer of a suite, each for itself. */
export function judge(
  scorers: readonly SuiteScorer[],
  task: EvalTask,
  seen: Observation,
  signal: AbortSignal,
): Promise<Score[]> {
  return Promise.all(
    scorers.map(async ({ scorer, weight, required }) => {
      const given = await judgeOne(scorer, task, seen, signal);
      return { scorer: scorer.name, ...given, required, weight };
    }),
  );
}

/** What one scorer says, whatever it does: one that throws, or answers out of shape, fails alone. */
export async function judgeOne(
  scorer: Scorer,
  task: EvalTask,
  seen: Observation,
  signal: AbortSignal,
): Promise<ScoreGiven> {
  try {
    if (scorer.applies?.(task) === false) return notExpected(scorer);
    const unseen = (scorer.needs ?? []).filter((key) => seen[key] === undefined);
    if (unseen.length > 0) {
      const why = `nobody could see ${unseen.map((key) => shown[key] ?? key).join(" and ")}`;
      return { score: 0, passed: false, message: `${why}.`, skipped: why };
    }
    const given = await scorer.score(task, seen, signal);
    const wrong = problemOf(given);
    if (wrong === null) return given;
    return { score: 0, passed: false, message: `The scorer's answer can't be used: ${wrong}.` };
  } catch (error) {
    return { score: 0, passed: false, message: `The scorer failed: ${messageOf(error)}` };
  }
}

const shown: Partial<Record<keyof Observation, string>> = {
  files: "which files changed",
  diff: "the changes of the files",
  tests: "any tests",
  coverage: "the coverage of tests",
  lint: "what a linter says",
  types: "what a type checker says",
  pull_request: "a pull request",
};

function notExpected({ reads }: Scorer): ScoreGiven {
  const why =
    reads.length === 0 ? "the task does not ask for it" : `the task has no ${reads.join(" or ")}`;
  return { score: 0, passed: true, message: `Does not apply: ${why}.`, skipped: why };
}

function problemOf(given: ScoreGiven | undefined): string | null {
  if (typeof given !== "object" || given === null) return "expected an object";
  const { score, passed, message } = given;
  if (typeof score !== "number" || !(score >= 0 && score <= 1))
    return "expected `score` from 0 to 1";
  if (typeof passed !== "boolean") return "expected `passed` to be true or false";
  if (typeof message !== "string") return "expected `message`, a text";
  return null;
}

/** The weighted mean of what counts; null where nothing does. */
export function meanOf(scores: readonly Pick<Score, "score" | "weight" | "skipped">[]) {
  const counted = scores.filter(({ skipped, weight }) => skipped === undefined && weight > 0);
  const weights = counted.reduce((sum, { weight }) => sum + weight, 0);
  if (weights === 0) return null;
  const mean = counted.reduce((sum, { score, weight }) => sum + score * weight, 0) / weights;
  // Of many ones the sum may be a little more than one.
  return Math.min(1, Math.max(0, mean));
}

/** Whether a trial passes: something was judged, every required score passed, and the mean is high enough. */
export function verdictOf(
  scores: readonly Score[],
  threshold: number,
): Pick<Trial, "passed" | "score"> {
  const score = meanOf(scores);
  const isComplete = scores.every(({ passed, required }) => passed || !required);
  return { score, passed: score !== null && isComplete && score >= threshold };
}
