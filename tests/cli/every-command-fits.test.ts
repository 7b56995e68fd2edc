import { cp, mkdtemp, mkdir, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import stringWidth from "string-width";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type CommandName, specs } from "../../cli/specs.ts";
import { report } from "../support/eval-report.ts";
import { runCli, type RunningCli, startCli } from "../support/run-cli.ts";

const columns = 60;
const root = fileURLToPath(new URL("../../", import.meta.url));

/** How each command is asked for what it shows; or why it is not, which is never that it is too wide. */
const asked: Readonly<Record<CommandName, string[] | string>> = {
  init: "writes a project",
  dev: "runs until it is stopped",
  worker: "runs until it is stopped",
  "control-plane": "runs until it is stopped",
  "mcp git": "speaks with a program",
  "mcp test-runner": "speaks with a program",
  completion: "prints a program",
  "machine export": "prints another tool's format",
  backup: "writes a file",
  submit: "prints an id",
  "runs get": "prints results as they are, below a line a step",
  "runs watch": "is a log, a line an event",
  "runs cancel": "says one line",
  "workflow run": "is a log, a line an event",
  "workflow watch": "is a log, a line an event",
  "eval run": "is a log, a line a trial",
  "eval from-run": "prints a task's JSON",
  "eval replay": "needs a report whose steps are recorded",
  "eval judge": "needs a model",
  "steps replay": "prints a log, a line an event",
  "tools call": "prints what the tool says, as it is",
  "tools accept": "asks on a terminal",
  "approvals approve": "shows what `approvals list` does",
  "approvals reject": "shows what `approvals list` does",
  "policy apply": "shows what `policy list` does",
  "policy delete": "says one line",
  "budgets set": "shows what `budgets show` does",
  "tenants create": "shows what `tenants list` does",
  "keys create": "prints a secret",
  "keys rotate": "prints a secret",
  "keys revoke": "says one line",
  "dlq show": "needs a dead letter",
  "dlq retry": "says one line",
  "dlq drop": "says one line",
  "retrieval search": "prints documents as they are",
  config: [],
  doctor: ["--probe"],
  prices: [],
  top: [],
  "runs list": [],
  "runs trace": ["RUN"],
  "steps show": ["RUN", "STEP"],
  "agents list": [],
  "approvals list": [],
  "audit tail": [],
  "audit verify": [],
  "policy list": [],
  "policy explain": ["helper", "git_push"],
  "policy prove": ["--tool", "git/git_push"],
  "tenants list": [],
  "budgets show": [],
  "keys list": [],
  "dlq list": [],
  "retrieval ingest": ["handbook"],
  "retrieval collections": [],
  "workflow validate": ["workflow.yaml"],
  "workflow graph": ["workflow.yaml"],
  "eval list": [],
  "eval report": ["evals/reports/before.json"],
  "eval compare": ["evals/reports/before.json", "evals/reports/after.json"],
  "eval gate": ["evals/reports/after.json", "--baseline", "evals/reports/before.json"],
  "tools list": [],
  "tools show": ["git/git_push"],
  "tools diff": [],
  "machine list": [],
  "machine show": [],
};
const names = Object.keys(specs) as CommandName[];
const shown = names.flatMap((name) => {
  const args = asked[name];
  return typeof args === "string" ? [] : [{ name, args }];
});

let folder: string;
let dev: RunningCli;
const ids = { RUN: "", STEP: "" };
const run = (args: string[]) => runCli(args, { cwd: folder, env: { COLUMNS: String(columns) } });

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "stateplane-narrow-")));
  const write = async (name: string, content: unknown) => {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    const text = typeof content === "string" ? content : JSON.stringify(content);
    await writeFile(join(folder, name), text);
  };
  const git = { command: process.execPath, args: [join(root, "cli/bin.ts"), "mcp", "git"] };
  await write("mcp.json", { mcpServers: { git: { ...git, args: [...git.args, "--root", "."] } } });
  await write("handbook/a.md", "Every change is looked at by two people.");
  await write(
    "evals/reports/before.json",
    report(12, (at, epoch) => (at + epoch) % 3 > 0),
  );
  const after = report(12, (at, epoch) => (at + epoch) % 4 > 1, { id: "eval_02" });
  await write("evals/reports/after.json", after);
  await write("stateplane.config.json", {
    mcpConfigPath: "mcp.json",
    allowlist: { allowed: ["git_status"], approvalRequired: ["git_commit"] },
    screening: { linkHosts: Array.from({ length: 12 }, (_, at) => `host-${at}.example.com`) },
    collections: { handbook: { sources: ["handbook"], embeddings: "none" } },
    agents: {
      helper: { allowedTools: ["git_status"], approvalRequiredTools: ["git_commit"] },
    },
  });
  const call = (tool: string, input: object) => ({
    type: "tool",
    input: { tool_name: tool, tool_input: { repo: ".", ...input } },
  });
  const message = "a message that goes on for longer than a terminal is wide";
  await write("asks.json", [call("git_commit", { message })]);
  await write("denied.json", [call("git_push", {})]);
  await cp(join(root, "examples/safe-pr/workflow.yaml"), join(folder, "workflow.yaml"));
  dev = startCli(["dev", "--store", "sqlite"], { cwd: folder });
  await dev.says("Ctrl-C stops.");
  await run(["submit", "helper", "--steps", "denied.json", "--watch"]);
  const asking = await run(["submit", "helper", "--steps", "asks.json", "--json"]);
  ids.RUN = (JSON.parse(asking.stdout) as { id: string }).id;
  await dev.says("(parked)");
  ids.STEP =
    /"id":"(stp_\w+)"/.exec((await run(["runs", "get", ids.RUN, "--json"])).stdout)?.[1] ?? "";
}, 120_000);
afterAll(async () => {
  dev.kill("SIGTERM");
  await dev.ended;
  await rm(folder, { recursive: true, force: true });
});

/** A command or a digest, which is copied whole; and a document's lines, which are somebody's JSON. */
const mayBeWide = (line: string) =>
  line.includes("bin.ts") || !/\S\s+\S/u.test(line) || /^ *(?:["{}[\]]|\S+ : )/u.test(line);

it.each(shown)(
  "fits sixty columns: $name [cli.narrow]",
  { timeout: 240_000 },
  async ({ name, args }) => {
    const words = args.map((arg) => ids[arg as keyof typeof ids] ?? arg);
    const { code, stdout, stderr } = await run([...name.split(" "), ...words]);
    expect([0, 1], stderr).toContain(code);
    const lines = stdout.split("\n");
    expect(lines.filter((line) => stringWidth(line) > columns && !mayBeWide(line))).toEqual([]);
  },
);
