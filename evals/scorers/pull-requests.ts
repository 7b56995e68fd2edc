import { type } from "arktype";
import type { ScorerType } from "./registry.ts";

const nothing = type({});

const prCreated: ScorerType = {
  shape: nothing,
  make: () => ({
    name: "pr_created",
    reads: ["pr_created"],
    applies: ({ expected }) => typeof expected["pr_created"] === "boolean",
    score({ expected }, { pull_request: made }) {
      const passed = (made !== undefined) === expected["pr_created"];
      const which = made?.url ?? (made?.number === undefined ? "" : `#${made.number}`);
      const said = made === undefined ? "No pull request was" : `A pull request ${which} was`;
      const message = `${said.trimEnd()} created${passed ? "" : ", against what was expected"}.`;
      return { score: passed ? 1 : 0, passed, message };
    },
  }),
};

const quality = type({ "min_description_length?": "number.integer >= 0" });
const shortTitle = 10;

const prQuality: ScorerType<typeof quality.infer> = {
  shape: quality,
  make: ({ min_description_length: least = 50 }) => ({
    name: "pr_quality",
    reads: ["pr_created"],
    needs: ["pull_request"],
    applies: ({ expected }) => expected["pr_created"] === true,
    score(_task, { pull_request: made = {} }) {
      const title = made.title?.trim() ?? "";
      const description = made.description?.trim() ?? "";
      const issues: [number, string][] = [];
      if (title === "") issues.push([0.3, "it has no title"]);
      else if (title.length < shortTitle)
        issues.push([0.1, `its title has fewer than ${shortTitle} characters`]);
      if (description === "") issues.push([0.4, "it has no description"]);
      else if (description.length < least)
        issues.push([0.2, `its description has fewer than ${least} characters`]);
      const lost = issues.reduce((sum, [less]) => sum + less, 0);
      const said = issues.map(([, issue]) => issue).join(" and ");
      return {
        score: Math.max(0, Number((1 - lost).toFixed(4))),
        passed: issues.length === 0,
        message:
          issues.length === 0 ? "Title and description are there." : `Of the request, ${said}.`,
      };
    },
  }),
};

export const pullRequestScorers = { pr_created: prCreated, pr_quality: prQuality };
