import { type } from "arktype";
import { describeRemoved, runIn, testTool } from "./context.ts";
import { openProject } from "./project.ts";

export const runCommand = testTool({
  name: "run_command",
  description:
    "Runs one of the commands that the operator of this server has allowed, exactly as it stands there. " +
    "command: its name; `detect` lists them. repo: the folder it runs in, relative to the root; the root " +
    "itself unless given. It runs in a sandbox without network, and may write in that folder, but a git " +
    "folder, node_modules or virtual environment that it makes there is removed.",
  annotations: {
    title: "Run an allowed command",
    readOnlyHint: false,
    destructiveHint: true,
    idempotentHint: false,
    openWorldHint: false,
  },
  input: type({
    "+": "reject",
    command: "string <= 200",
    repo: "string <= 1000 = '.'",
    "timeout_seconds?": "1 <= number.integer <= 86400",
  }),
  output: type({
    command: "string",
    ok: "boolean",
    exitCode: "number.integer | null",
    stdout: "string",
    stderr: "string",
    durationMs: "number.integer >= 0",
    removed: "string[]",
    truncated: "boolean",
  }),
  async run({ command: name, repo, timeout_seconds: seconds }, context) {
    const words = context.commands.get(name);
    const [program, ...args] = words ?? [];
    if (program === undefined) {
      const names = [...context.commands.keys()].join(", ") || "none";
      return { ok: false, problem: `no command of that name is allowed; allowed are: ${names}` };
    }
    const project = await openProject(context.root, repo);
    if (!project.ok) return project;
    const ran = await runIn(context, project.value, {
      program,
      // All words are the operator's.
      line: { command: args },
      writable: true,
      files: [],
      ...(seconds === undefined ? {} : { timeoutMs: seconds * 1_000 }),
    });
    if (!ran.ok) return ran;
    const { exitCode, stdout, stderr, durationMs, removed, truncated } = ran.value;
    const structured = {
      command: name,
      ok: exitCode === 0,
      exitCode,
      stdout: head(stdout),
      stderr: head(stderr),
      durationMs,
      removed,
      truncated: truncated || stdout.length > outputLimit || stderr.length > outputLimit,
    };
    const told = removed.length === 0 ? "" : describeRemoved(removed);
    const said = [structured.stdout, structured.stderr, told].filter(Boolean).join("\n");
    const text = `${exitCode === 0 ? "PASSED" : `FAILED (exit code ${exitCode})`} ${name}\n${said}`;
    return { ok: true, value: { text, structured } };
  },
});

/** Characters kept of each stream. */
const outputLimit = 100_000;
const head = (text: string): string => text.slice(0, outputLimit).toWellFormed();
