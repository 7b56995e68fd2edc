import { expect, it } from "vitest";
import type { Context } from "../../cli/command.ts";
import { progressOf } from "../../cli/commands/eval-progress.ts";
import { createOutput } from "../../cli/output/output.ts";
import type { Trial } from "../../evals/contracts.ts";
import type { Suite } from "../../evals/suite.ts";
import { trial } from "../support/eval-report.ts";

function told(given: Partial<Trial>): string {
  let written = "";
  const out = { write: (text: string) => (written += text) };
  const output = createOutput({ out, remarks: out, isJson: false, env: {} });
  const context = { output, invocation: { flags: {} } } as unknown as Context;
  const tell = progressOf(context, { settings: { runs: 1 } } as Suite);
  tell({ ...trial("task-1", 0, false), ...given }, { done: 1, all: 9, isEarlier: false });
  return written;
}

it("says of each trial that did not pass why, once", () => {
  const skipped = { scorer: "lint", score: 0, passed: false, required: true, weight: 1 };
  const scores = [{ ...skipped, message: "", skipped: "Nothing could be seen of lint." }];
  expect(told({ score: null, scores: [] })).toBe(
    "1/9  failed  -  task-1  no scorer could judge it\n",
  );
  expect(told({ scores })).toContain("task-1  lint: Nothing could be seen of lint.\n");
  expect(told({ error: "its folder was full" })).toMatch(/task-1 {2}its folder was full\n/u);
  const ofScorer = told({});
  expect(ofScorer).toMatch(/task-1\n {6}0\.00 {2}test_pass: 3 of 12 tests fail/u);
});
