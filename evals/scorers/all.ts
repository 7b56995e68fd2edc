import { type } from "arktype";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { codeScorers } from "./code.ts";
import { conductScorers } from "./conduct.ts";
import { fileScorers } from "./files.ts";
import { judgeScorers } from "./judges.ts";
import { judge, meanOf } from "./judging.ts";
import { outputMatch, outputStructure, schemaValid } from "./output.ts";
import { pullRequestScorers } from "./pull-requests.ts";
import { argumentScorers } from "./tool-arguments.ts";
import { trajectoryScorers } from "./trajectory.ts";
import { makeScorer, type Registry, type ScorerType, type SuiteScorer } from "./registry.ts";

const compositeShape = type({
  scorers: type("object").array().atLeastLength(1),
  "require_all_pass?": "boolean",
  "threshold?": "0 <= number <= 1",
});

/** Several scorers as one: their weighted mean, and a pass where every required one passed and the mean is enough. */
const composite: ScorerType<typeof compositeShape.infer> = {
  shape: compositeShape,
  make({ scorers, require_all_pass: all = false, threshold = 0.5 }, context, registry) {
    const made: SuiteScorer[] = [];
    for (const [at, entry] of scorers.entries()) {
      const one = makeScorer(entry as Json, registry, context);
      if (Array.isArray(one)) {
        const [first] = one;
        return `${["scorers", at, ...(first?.path ?? [])].join(".")}: ${first?.problem ?? ""}`;
      }
      made.push(all ? { ...one, required: true } : one);
    }
    return {
      name: "composite",
      reads: made.flatMap(({ scorer }) => scorer.reads),
      applies: (task) => made.some(({ scorer }) => scorer.applies?.(task) !== false),
      async score(task, seen, signal) {
        const scores = await judge(made, task, seen, signal);
        const mean = meanOf(scores);
        const failed = scores.filter(({ passed, required }) => required && !passed);
        const names = failed.map(({ scorer }) => scorer).join(", ");
        const said = `The mean of ${scores.length} scores is ${(mean ?? 0).toFixed(2)}`;
        return {
          score: mean ?? 0,
          passed: mean !== null && mean >= threshold && failed.length === 0,
          message: failed.length === 0 ? `${said}.` : `${said}; ${names} did not pass.`,
          details: { scores: scores as unknown as JsonObject[] },
        };
      },
    };
  },
};

/** Every type of scorer that a suite can name. */
export const registry: Registry = {
  ...fileScorers,
  ...pullRequestScorers,
  ...codeScorers,
  ...conductScorers,
  ...trajectoryScorers,
  ...argumentScorers,
  ...judgeScorers,
  schema_valid: schemaValid,
  schema: schemaValid,
  output_structure: outputStructure,
  expected_output_match: outputMatch([
    ...Object.keys(fileScorers),
    "pr_created",
    ...Object.keys(codeScorers),
    "schema_valid",
    "output_structure",
  ]),
  composite,
};
