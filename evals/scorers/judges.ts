import { type } from "arktype";
import { type Json, isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { EvalTask, Observation, ScoreGiven } from "../contracts.ts";
import {
  askJudge,
  type Criterion,
  type JudgeModel,
  points,
  type Rated,
  ratingOf,
} from "../judges/ask-judge.ts";
import {
  unseen,
  broken,
  common,
  dataOf,
  defaultRubric,
  judgeOf,
  lockOf,
  type Shown,
  usualShow,
} from "../judges/judging.ts";
import { pairwise } from "./pairwise-judge.ts";
import type { ScorerContext, ScorerType } from "./registry.ts";

/*
 * Models as judges, over any provider that a worker can ask. A judge gives points and reasons; whether that is enough is
 * the suite's threshold to say. A judge that can't be asked, or gives no readable answer twice, leaves its score broken:
 * it counts for nothing, and where it is required the trial does not pass.
 */

const criterion = type({
  name: "string > 0",
  description: "string > 0",
  "weight?": "number > 0",
});
const criteria = criterion.array().atLeastLength(1);

const defaultCriteria: Criterion[] = [
  { name: "correct", description: "What it says and does is right." },
  { name: "complete", description: "All that the task asks for is there." },
];
const codeCriteria: Criterion[] = [
  { name: "correct", description: "The change does what the task asks, and breaks nothing." },
  { name: "readable", description: "Names and structure say what the code does." },
  { name: "contained", description: "Nothing is changed that the task does not need." },
];
const prCriteria: Criterion[] = [
  { name: "title", description: "The title says what the change does." },
  { name: "description", description: "The description says what was changed, and why." },
  { name: "honest", description: "It claims nothing that the change does not do." },
];

/** From 0 to 1, by the criteria's weights. */
function scoreOf({ criteria: rated }: Rated, wanted: readonly Criterion[]): number {
  const weightOf = (name: string) => wanted.find((one) => one.name === name)?.weight ?? 1;
  const all = rated.reduce((sum, { name }) => sum + weightOf(name), 0);
  const got = rated.reduce((sum, { name, points: given }) => sum + weightOf(name) * (given - 1), 0);
  return got / (all * (points - 1));
}

const said = ({ criteria: rated }: Rated): string =>
  rated.map(({ name, points: given }) => `${name} ${given}/${points}`).join(", ");

const rubricShape = type({ ...common, model: "string > 0", "criteria?": criteria });
const panelShape = type({
  ...common,
  models: type("string > 0").array().atLeastLength(2),
  "criteria?": criteria,
});

interface Rubric {
  name: string;
  wanted: readonly Criterion[];
  rubric: string;
  show: readonly Shown[];
  threshold: number;
  judges: readonly JudgeModel[];
}

/** One judge or several, by a rubric: the median of what they say, so that one judge alone decides nothing. */
function rubricScorer(
  { name, wanted, rubric, show, threshold, judges }: Rubric,
  { models }: ScorerContext,
) {
  const lock = lockOf({
    name,
    rubric,
    wanted: wanted as never,
    show: [...show],
    threshold,
    judges: judges as never,
  });
  return {
    name,
    reads: [],
    lock,
    async score(task: EvalTask, seen: Observation, signal: AbortSignal): Promise<ScoreGiven> {
      const data = dataOf(task, seen, show);
      if (Object.keys(data).length === 1) return unseen(show);
      const { question, read } = ratingOf(wanted, rubric, data);
      const given = await Promise.all(
        judges.map((judge) => askJudge(models, judge, question, read, signal)),
      );
      const rated = given.flatMap((one) => (one.ok ? [one.value] : []));
      const failed = given.flatMap((one) => (one.ok ? [] : [one.failure]));
      // Fewer than half of a panel is no panel.
      if (rated.length * 2 <= judges.length || rated.length === 0) {
        const [first] = failed;
        if (first !== undefined) return broken(first);
      }
      const scores = rated.map((one) => scoreOf(one, wanted));
      const score = median(scores);
      const each = rated.map(said).join(" | ");
      return {
        score,
        passed: score >= threshold,
        message: `${each}: ${score.toFixed(2)}, a pass needs ${threshold}.`,
        details: {
          threshold,
          lock,
          judgements: rated.map(({ criteria: by }) => by) as unknown as Json,
          ...(judges.length > 1 ? { spread: Math.max(...scores) - Math.min(...scores) } : {}),
          ...(failed.length > 0 ? { failed: failed.map(({ message }) => message) } : {}),
        },
      };
    },
  };
}

function median(scores: readonly number[]): number {
  const sorted = scores.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2;
}

const rubricJudge = (
  name: string,
  usual: Criterion[],
  shownFirst: readonly Shown[],
): ScorerType<typeof rubricShape.infer> => ({
  shape: rubricShape,
  make: (
    {
      model,
      criteria: wanted = usual,
      rubric = defaultRubric,
      show = shownFirst,
      threshold = 0.7,
      ...more
    },
    context,
  ) =>
    rubricScorer(
      { name, wanted, rubric, show, threshold, judges: [judgeOf(model, more)] },
      context,
    ),
});

const panel: ScorerType<typeof panelShape.infer> = {
  shape: panelShape,
  make: (
    {
      models,
      criteria: wanted = defaultCriteria,
      rubric = defaultRubric,
      show = usualShow,
      threshold = 0.7,
      ...more
    },
    context,
  ) =>
    rubricScorer(
      {
        name: "judge_panel",
        wanted,
        rubric,
        show,
        threshold,
        judges: models.map((model) => judgeOf(model, more)),
      },
      context,
    ),
};

export const judgeScorers = {
  llm_judge: rubricJudge("llm_judge", defaultCriteria, usualShow),
  code_quality_judge: rubricJudge("code_quality_judge", codeCriteria, ["diff"]),
  pr_quality_judge: rubricJudge("pr_quality_judge", prCriteria, ["pull_request", "diff"]),
  judge_panel: panel,
  pairwise_judge: pairwise,
};

/** Whether an entry of a suite is a judge. */
export const isJudgeEntry = (entry: Json): entry is JsonObject =>
  isJsonObject(entry) && Object.hasOwn(judgeScorers, String(entry["type"]));
