import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import type { EvalReport } from "../../evals/contracts.ts";
import { parseReport, readReport, writeReport } from "../../evals/report-file.ts";

const report: EvalReport = {
  format: "stateplane-eval/1",
  id: "eval_1",
  suite: "smoke",
  agent: "assistant",
  mock: false,
  control_plane: "embedded",
  started_at: "2026-01-01T00:00:00.000Z",
  ended_at: "2026-01-01T00:00:01.000Z",
  complete: true,
  epochs: 1,
  approvals: "none",
  gates: { pass_rate_threshold: 0.95 },
  locks: { dataset: "abc" },
  unread_expectations: { endpoint_works: 1 },
  bad_lines: [{ file: "tasks.jsonl", line: 3, problem: "id: expected a text" }],
  tasks: [
    {
      id: "a",
      name: "A",
      category: "general",
      difficulty: "easy",
      tags: [],
      cluster: "a",
      trials: [
        {
          task_id: "a",
          epoch: 0,
          status: "scored",
          passed: true,
          score: 1,
          scores: [
            { scorer: "lint", score: 1, passed: true, required: true, weight: 1, message: "Fine." },
          ],
          observation: {
            run_status: "completed",
            output: { response: "é\u2028" },
            steps: [{ id: "s", type: "llm", status: "completed", states: [] }],
            calls: [{ tool: "t", arguments: {}, verdict: "allow", outcome: "ok" }],
            audit: [{ event: "run.completed" }],
            usage: { input_tokens: 1, output_tokens: 1, tool_calls: 1, cost_microusd: null },
            duration_ms: 12.5,
          },
          retries: 0,
          started_at: "2026-01-01T00:00:00.000Z",
          ended_at: "2026-01-01T00:00:01.000Z",
        },
      ],
    },
  ],
};

it("reads a report as it was written [evals.report-file]", async () => {
  const folder = await mkdtemp(join(tmpdir(), "stateplane eval report-"));
  try {
    const file = join(folder, "new", "report.json");
    await writeReport(file, report);
    expect(await readReport(file)).toEqual({ ok: true, report });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

const changed = (change: (report: Record<string, never>) => void): string => {
  const copy = structuredClone(report) as unknown as Record<string, never>;
  change(copy);
  return JSON.stringify(copy);
};

it.each([
  ["{", ["is not JSON"]],
  ["[]", ["is not a JSON object"]],
  ['{"results": []}', ['expected "format": "stateplane-eval/1", found no format']],
  ['{"format": "stateplane-eval/9"}', ['found "format": "stateplane-eval/9"']],
  [changed((all) => delete all["mock"]), ["mock"]],
  [changed((all) => Object.assign(all, { extra: 1 })), ["extra"]],
  [
    changed((all) => Object.assign(all["tasks"]?.[0]?.["trials"][0] ?? {}, { score: 2 })),
    ["tasks[0].trials[0].score"],
  ],
])("refuses %s with what is wrong and where [evals.report-file]", (text, said) => {
  const read = parseReport(text);
  expect(read.ok ? [] : read.problems).toEqual(said.map((part) => expect.stringContaining(part)));
});
