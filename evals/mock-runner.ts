import type { EvalTask, Observation } from "./contracts.ts";
import { textsOf } from "./scorers/files.ts";
import type { TrialRunner } from "./trial.ts";

/** Makes up what a task expects, as FerrumDeck's mock does: good for trying a suite out, and for nothing else. */
export const mockRunner: TrialRunner = {
  place: "mock",
  run: async ({ task }) => ({ kind: "seen", observation: madeUp(task) }),
};

function madeUp({ id, expected }: EvalTask): Observation {
  const paths = (key: string) =>
    (textsOf(expected[key]) ?? []).map((path) => path.replaceAll("*", "x"));
  const created = [...paths("files_created"), ...paths("file_created")];
  const isNew = expected["file_created"] === true && created.length === 0;
  const isRequested = expected["pr_created"] === true;
  return {
    run_status: "completed",
    output: expected["output"] ?? expected["expected_output"] ?? "made up",
    steps: [],
    calls: [],
    audit: [],
    files: {
      changed: paths("files_changed"),
      created: isNew ? ["made-up"] : created,
      deleted: [],
    },
    diff: expected["type_hints_added"] === true ? "+def made_up() -> None:" : "",
    ...(isRequested && {
      pull_request: {
        url: `https://example.com/pull/${encodeURIComponent(id)}`,
        title: `Made up for ${id}`,
        description: "This pull request was made up, to try a suite out; nobody wrote it.",
      },
    }),
    tests: { passed: 10, failed: 0, total: 10 },
    coverage: { before: 80, after: 81 },
    lint: { errors: 0, warnings: 0 },
    types: { errors: 0 },
    usage: { input_tokens: 1500, output_tokens: 800, tool_calls: 0, cost_microusd: 500 },
    duration_ms: 0,
  };
}
