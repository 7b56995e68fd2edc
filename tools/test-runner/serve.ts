import { realpathSync } from "node:fs";
import { readCommandLine, serve } from "../shared/server-tool.ts";
import { lint, typeCheck } from "./check-code.ts";
import type { TestContext } from "./context.ts";
import { detect } from "./detect.ts";
import { openProject } from "./project.ts";
import { runCommand } from "./run-command.ts";
import { runTests } from "./run-tests.ts";
import { type Runner, sandboxed, sandboxProblem, unboxed } from "./sandbox.ts";
import { findToolchains } from "./toolchains.ts";
import type { Answer } from "../shared/server-tool.ts";

const name = "stateplane-mcp-test-runner";

const context = readCommandLine(
  name,
  {
    root: { type: "string" },
    /** Files and folders outside the root that the sandbox shows, read-only: a store of packages, say. */
    show: { type: "string", multiple: true },
    /** `name=program word word`: what `run_command` may run. */
    command: { type: "string", multiple: true },
    /** Seconds. */
    timeout: { type: "string" },
    "no-sandbox": { type: "boolean" },
  },
  (values): TestContext => {
    const folder = values.root ?? process.env["FD_WORKSPACE_DIR"];
    if (!folder) throw new Error("give --root DIR, or set FD_WORKSPACE_DIR");
    const root = realpathSync(folder);
    const show = (values.show ?? []).map((path) => realpathSync(path));
    const boxed = values["no-sandbox"] !== true;
    if (!boxed) {
      process.stderr.write(
        `${name}: without a sandbox, the project's code runs with all that this user may read, write and reach\n`,
      );
    }
    let found: Promise<Answer<Runner>> | null = null;
    return {
      root,
      timeoutMs: readTimeout(values.timeout ?? process.env["FD_TEST_TIMEOUT"] ?? "300"),
      commands: new Map((values.command ?? []).map(readCommand)),
      async runner(signal) {
        found ??= findRunner({ root, show, boxed }, signal);
        const answer = await found;
        // Somebody may install what is missing.
        if (!answer.ok) found = null;
        return answer;
      },
    };
  },
);

async function findRunner(
  { root, show, boxed }: { root: string; show: string[]; boxed: boolean },
  signal: AbortSignal,
): Promise<Answer<Runner>> {
  const toolchains = await findToolchains(show, signal);
  if (!boxed) return { ok: true, value: unboxed(toolchains) };
  const runner = sandboxed(root, toolchains);
  const project = await openProject(root, ".");
  if (!project.ok) return project;
  const problem = await sandboxProblem(runner, project.value, signal);
  return problem === null ? { ok: true, value: runner } : { ok: false, problem };
}

function readTimeout(text: string): number {
  const seconds = Number(text);
  if (Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds * 1_000;
  throw new Error(`--timeout ${text}: expected a whole number of seconds from 1 to 86400`);
}

function readCommand(text: string): [string, string[]] {
  const [, label = "", line = ""] = /^([A-Za-z0-9_.:-]+)=(.+)$/s.exec(text) ?? [];
  const words = line.split(/\s+/).filter(Boolean);
  if (label === "" || words.length === 0) {
    throw new Error(
      `--command ${text}: expected NAME=PROGRAM and its arguments, separated by blanks`,
    );
  }
  return [label, words];
}

const commandTools = context.commands.size === 0 ? [] : [runCommand];
serve(name, [detect, runTests, lint, typeCheck, ...commandTools], context);
