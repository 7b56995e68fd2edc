import { type } from "arktype";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { askJudge, type Question } from "../judges/ask-judge.ts";
import {
  unseen,
  broken,
  common,
  dataOf,
  defaultRubric,
  judgeOf,
  lockOf,
  usualShow,
} from "../judges/judging.ts";
import type { ScorerType } from "./registry.ts";

const pairShape = type({ ...common, model: "string > 0", "reference?": "string > 0" });

/**
 * The work against a reference from the task (`expected.reference`, or another key), asked twice with the places
 * changed. A judge that says otherwise when the order changes has preferred a place: that is a tie.
 */
export const pairwise: ScorerType<typeof pairShape.infer> = {
  shape: pairShape,
  make(
    {
      model,
      rubric = defaultRubric,
      show = usualShow,
      threshold = 0.5,
      reference: key = "reference",
      ...more
    },
    { models },
  ) {
    const judge = judgeOf(model, more);
    const lock = lockOf({
      pairwise: key,
      rubric,
      show: [...show],
      threshold,
      judge: judge as never,
    });
    return {
      name: "pairwise_judge",
      reads: [key],
      applies: ({ expected }) => expected[key] !== undefined,
      lock,
      async score(task, seen, signal) {
        const { task: asked, ...work } = dataOf(task, seen, show);
        if (Object.keys(work).length === 0) return unseen(show);
        const own: Json = work;
        const other = task.expected[key] ?? null;
        const ask = (first: Json, second: Json) => {
          const { question, read } = comparisonOf(rubric, { task: asked ?? null, first, second });
          return askJudge(models, judge, question, read, signal);
        };
        const [before, after] = await Promise.all([ask(own, other), ask(other, own)]);
        if (!before.ok) return broken(before.failure);
        if (!after.ok) return broken(after.failure);
        const one = { first: 1, second: 0, tie: 0.5 }[before.value.better];
        const two = { first: 0, second: 1, tie: 0.5 }[after.value.better];
        const isByPlace = Math.abs(one - two) === 1;
        const score = (one + two) / 2;
        const words = isByPlace
          ? "The judge preferred a place, not a work, which is a tie"
          : `Against the reference it is ${score > 0.5 ? "better" : score < 0.5 ? "worse" : "a tie"}`;
        return {
          score,
          passed: score >= threshold,
          message: `${words}: ${score.toFixed(2)}, a pass needs ${threshold}.`,
          details: {
            threshold,
            lock,
            by_place: isByPlace,
            reasons: [before.value.reasoning, after.value.reasoning],
          },
        };
      },
    };
  },
};

/** Which of two is better, by their places. */
function comparisonOf(
  rubric: string,
  data: Question["data"],
): {
  question: Question;
  read: (answer: Json) => { reasoning: string; better: "first" | "second" | "tie" } | string;
} {
  const instructions = `${rubric}\n\nTwo pieces of work for the same task are shown, \`first\` and \`second\`. Say which is better, or that it is a tie. Their order means nothing, and neither does their length.`;
  const schema = {
    type: "object",
    properties: {
      reasoning: { type: "string" },
      better: { type: "string", enum: ["first", "second", "tie"] },
    },
    required: ["reasoning", "better"],
    additionalProperties: false,
  };
  const shape = type({ reasoning: "string", better: "'first' | 'second' | 'tie'" });
  return {
    question: { instructions, data, schema },
    read(answer) {
      const said = shape(answer);
      return said instanceof type.errors ? said.summary.replaceAll("\n", "; ") : said;
    },
  };
}
