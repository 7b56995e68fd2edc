import type { EvalReport, ReportedTask, Trial } from "../../evals/contracts.ts";

const states = ["pending", "policy-check", "executing", "validating", "reported.delivered"];

/** A trial of a report; what it says is as hostile as an agent's text may be. */
export function trial(task_id: string, epoch: number, passed: boolean): Trial {
  const start = Date.UTC(2026, 10, 26, 5, 0, epoch);
  const at = (ms: number) => new Date(start + ms).toISOString();
  return {
    task_id,
    epoch,
    status: "scored",
    passed,
    score: passed ? 1 : 0.25,
    scores: [
      {
        scorer: "test_pass",
        score: passed ? 1 : 0,
        passed,
        required: true,
        weight: 1.5,
        message: passed ? "All 12 tests pass." : "3 of 12 tests fail: <b>test_total</b> & others.",
      },
      {
        scorer: "lint",
        score: 0,
        passed: true,
        required: false,
        weight: 0.5,
        message: "",
        skipped: "The task expects nothing of lint.",
      },
    ],
    observation: {
      run_id: "run_01JFVX0000000000000000000A",
      run_status: "completed",
      output: '</pre><script>document.title = "owned"</script>\u0000\u202e',
      steps: [
        {
          id: "step_1",
          name: "plan & fix",
          type: "llm",
          status: passed ? "completed" : "failed",
          states: states.map((state, nth) => ({
            state,
            at: at([0, 3, 9, 1_450, 1_480][nth] ?? 0),
          })),
          ...(!passed && { error: { kind: "tool_failed", message: "exit code 1" } }),
        },
      ],
      calls: [
        {
          tool: "apply_patch",
          server: "git",
          arguments: { path: "src/cart.ts" },
          verdict: "allow",
          outcome: "ok",
          duration_ms: 35,
        },
        { tool: "push", arguments: { branch: "main" }, verdict: "deny", outcome: "refused" },
      ],
      audit: [],
      files: { changed: ["src/cart.ts"], created: [], deleted: [] },
      diff: "--- a/src/cart.ts\n+++ b/src/cart.ts\n@@ -1,2 +1,2 @@\n-return total;\n+return total + tax;\n",
      usage: { input_tokens: 2_000, output_tokens: 400, tool_calls: 2, cost_microusd: 12_400 },
      duration_ms: 1_500,
    },
    retries: 0,
    started_at: at(0),
    ended_at: at(1_500),
  };
}

/** @param passes whether a trial of the task passes, by the task's and the trial's numbers */
export function report(
  tasks: number,
  passes: (at: number, epoch: number) => boolean = () => true,
  other: Partial<EvalReport> = {},
): EvalReport {
  const epochs = other.epochs ?? 3;
  return {
    format: "stateplane-eval/1",
    id: "eval_01",
    suite: "regression",
    agent: "safe-pr-agent",
    mock: false,
    control_plane: "embedded",
    started_at: "2026-11-26T05:00:00.000Z",
    ended_at: "2026-11-26T05:10:00.000Z",
    complete: true,
    epochs,
    approvals: "none",
    gates: {},
    locks: { dataset: "sha256:aaaa", suite: "sha256:bbbb", agent: "sha256:cccc" },
    unread_expectations: {},
    bad_lines: [],
    tasks: Array.from({ length: tasks }, (_, at): ReportedTask => {
      const id = `task-${String(at).padStart(3, "0")}`;
      return {
        id,
        name: `Mend the cart <${at}>`,
        category: at % 2 === 0 ? "bugfix" : "documentation",
        difficulty: "medium",
        tags: ["cart"],
        cluster: id,
        trials: Array.from({ length: epochs }, (__, epoch) => trial(id, epoch, passes(at, epoch))),
      };
    }),
    ...other,
  };
}
