import { messageOf } from "../../machines/contracts/domain/users-code.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
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

/** The key of `expected` that names how the run is to end, where that is not as `completed`. */
export const expectedEnd = "run_status";

/** A run that failed has not done what was asked, whatever else is said of it. Of one that ended well nothing is added. */
export function wrongEnd({ expected }: EvalTask, { run_status: status }: Observation): Score[] {
  const wanted = expected[expectedEnd] ?? "completed";
  if (status === wanted) return [];
  const message = `The run ended as ${status}, not as ${String(wanted)}.`;
  const made = { score: 0, passed: false, required: true, weight: 0 };
  return [{ scorer: "run_end", message, ...made }];
}

/** What one scorer says, whatever it does: one that throws, answers out of shape, or never answers, fails alone. */
export async function judgeOne(
  scorer: Scorer,
  task: EvalTask,
  seen: Observation,
  signal: AbortSignal,
): Promise<ScoreGiven> {
  try {
    if (scorer.applies?.(task) === false) {
      const unusable = unusableIn(scorer, task);
      return unusable === null
        ? notExpected(scorer)
        : { score: 0, passed: false, message: `It can't use what the task expects: ${unusable}.` };
    }
    const unseen = (scorer.needs ?? []).filter((key) => seen[key] === undefined);
    if (unseen.length > 0) {
      const what = unseen.map((key) => shown[key] ?? key).join(" and ");
      const reasons: Readonly<Record<string, string>> = seen.unseen ?? {};
      const because = new Set(
        unseen.map((key) => reasons[key]).filter((text) => text !== undefined),
      );
      const why = [`nobody could see ${what}`, ...because].join(": ");
      return { score: 0, passed: false, message: `${why}.`, skipped: why };
    }
    const given = await untilAborted(scorer.score(task, seen, signal), signal);
    const wrong = problemOf(given);
    if (wrong === null) return asKept(given);
    return { score: 0, passed: false, message: `The scorer's answer can't be used: ${wrong}.` };
  } catch (error) {
    return { score: 0, passed: false, message: `The scorer failed: ${messageOf(error)}` };
  }
}

/** A scorer that does not listen to the signal is left behind. */
async function untilAborted<T>(answer: Promise<T> | T, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason instanceof Error ? signal.reason : new Error("stopped"));
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([answer, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** No more than what a report holds, and that as it will be read. @throws where it can't be written */
function asKept({ score, passed, message, details, skipped }: ScoreGiven): ScoreGiven {
  return {
    score,
    passed,
    message,
    ...(details === undefined
      ? {}
      : { details: JSON.parse(JSON.stringify(details)) as JsonObject }),
    ...(skipped === undefined ? {} : { skipped }),
  };
}

/**
 * What a task asks of a scorer in a shape that the scorer does not know, such as the text "true" for true: to pass over it
 * would make a task without the expectation of one with a slip in it. Null where it asks nothing of it.
 */
export function unusableIn({ reads }: Pick<Scorer, "reads">, task: EvalTask): string | null {
  const asked = reads.filter(
    (key) => ![undefined, null, false].includes(task.expected[key] as null),
  );
  if (asked.length === 0) return null;
  const shownOf = (key: string) =>
    `expected.${key} is ${cutText(JSON.stringify(task.expected[key]), 100)}`;
  return asked.map(shownOf).join(", ");
}

const shown: Partial<Record<keyof Observation, string>> = {
  steps: "the steps of the run",
  calls: "the calls of tools",
  audit: "the audit of the run",
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
  const { details, skipped } = given;
  if (details !== undefined && (typeof details !== "object" || details === null))
    return "expected `details` to be an object";
  if (skipped !== undefined && typeof skipped !== "string")
    return "expected `skipped` to be a text";
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
