import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { expect, it, onTestFinished, vi } from "vitest";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { openChecks } from "../../cli/compose/eval-plane.ts";
import { registry } from "../../evals/scorers/all.ts";
import { judge } from "../../evals/scorers/judging.ts";
import { makeScorer, type SuiteScorer } from "../../evals/scorers/registry.ts";
import { evalTask } from "../support/eval-task.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const signal = new AbortController().signal;
const usage = { input_tokens: 0, output_tokens: 0, tool_calls: 0, cost_microusd: 0 };

it("a scorer that could not see says why: no sandbox works here, or nothing runs these tests [evals.skipped]", async () => {
  const write = async (name: string, text: string, mode = 0o644) => {
    await mkdir(join(folder, name, ".."), { recursive: true });
    await writeFile(join(folder, name), text, { mode });
  };
  await write("bin/bwrap", "#!/bin/sh\necho no permission >&2\nexit 1\n", 0o755);
  await write("work/tested/package.json", "{}");
  await write("work/tested/a.test.js", "require('node:test')('a', () => {});");
  await write("work/untested/a.txt", "");
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("PATH", `${join(folder, "bin")}${delimiter}${process.env["PATH"]}`);
  await using checks = openChecks(join(folder, "work"), 60_000);

  const context = { folder, models: null, schemas: createSchemaChecker() };
  const suite = [makeScorer({ type: "test_pass" }, registry, context) as SuiteScorer];
  const task = { ...evalTask("t"), expected: { tests_pass: true } };
  const said = async (name: string) => {
    const { tests, unseen } = await checks.look(name, ["tests"], signal);
    expect(tests).toBeUndefined();
    const seen = { run_status: "completed", output: {}, usage, duration_ms: 1 };
    const scores = await judge(suite, task, unseen ? { ...seen, unseen } : seen, signal);
    return scores[0]?.skipped;
  };
  expect(await said("tested")).toMatch(
    /^nobody could see any tests: .*no sandbox works here \(no permission\)/u,
  );
  expect(await said("untested")).toMatch(
    /^nobody could see any tests: .*no test runner fits the project's files/u,
  );
});
