import type { EvalTask, Observation } from "./contracts.ts";
import type { TrialFolder } from "./fixtures.ts";
import type { SuiteScorer } from "./scorers/registry.ts";

/** What the programs of a project say of its folder; left out what they can't say, with why. */
export interface Found extends Pick<Observation, "tests" | "lint" | "types" | "unseen"> {
  /** Percent of lines. */
  coverage?: number;
}

export type Check = Exclude<keyof Found, "unseen">;

/** Runs a project's own tests, linter and type checker, in a sandbox. */
export interface Checks {
  /** `folder` is its name in the workspace. */
  look(folder: string, wanted: readonly Check[], signal: AbortSignal): Promise<Found>;
}

/** Which checks the scorers of a suite need of a task. */
export interface Needs {
  before(task: EvalTask): readonly Check[];
  after(task: EvalTask): readonly Check[];
}

const checks: ReadonlySet<string> = new Set<Check>(["tests", "lint", "types", "coverage"]);

/** By the keys of `expected` that each scorer reads, which say what of them is asked for. */
const asked: Readonly<Record<Check, readonly string[]>> = {
  tests: ["tests_pass"],
  lint: ["lint_pass"],
  types: ["type_check_pass", "type_hints_added"],
  coverage: ["test_coverage_improved"],
};

export function needsOf(scorers: readonly SuiteScorer[]): Needs {
  const after = (task: EvalTask): Check[] => {
    const needed = new Set<Check>();
    for (const { scorer } of scorers) {
      const own = (scorer.needs ?? []).filter((key): key is Check => checks.has(key));
      if (scorer.applies?.(task) !== false) for (const check of own) needed.add(check);
      for (const [check, keys] of Object.entries(asked) as [Check, readonly string[]][]) {
        if (keys.some((key) => scorer.reads.includes(key) && task.expected[key] === true))
          needed.add(check);
      }
    }
    return [...needed];
  };
  const before = (task: EvalTask) => after(task).filter((check) => check === "coverage");
  return { before, after };
}

export async function checkFolder(
  look: Checks | null,
  folder: TrialFolder | null,
  wanted: readonly Check[],
  signal: AbortSignal,
): Promise<Found> {
  if (look === null || folder === null || wanted.length === 0) return {};
  return look.look(folder.name, wanted, signal);
}
