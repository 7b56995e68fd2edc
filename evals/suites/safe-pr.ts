import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { extname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { defineSuite } from "../define.ts";
import { type ScriptedTurn, scriptedAgent } from "../scripted-agent.ts";

/*
 * An agent that mends a bug in a real repository, tests it, pushes a branch and asks for a pull request, by the git and
 * test-runner servers that come with the program. Its model is scripted, so that it needs no key; what its trials show
 * follows from what the tools did all the same.
 */

const run = promisify(execFile);
const dataset = fileURLToPath(new URL("../datasets/safe-pr", import.meta.url));

/** What the model has in mind for each task. */
export interface Fix {
  /** A part of the task's text. */
  about: string;
  branch: string;
  path: string;
  content: string;
  title: string;
  body: string;
}

export const fixes = JSON.parse(readFileSync(join(dataset, "fixes.json"), "utf8")) as Fix[];

const call = (name: string, more: JsonObject): ScriptedTurn => ({
  calls: [{ name, arguments: { repo: "{{repo}}", ...more } }],
});

function turnsOf({ branch, path, content, title, body }: Fix): ScriptedTurn[] {
  return [
    call("read_file", { path }),
    call("git_checkout", { branch, create: true }),
    call("write_file", { path, content }),
    call("run_tests", {}),
    call("git_add", { files: [path] }),
    call("git_commit", { message: title }),
    call("git_push", { branch, set_upstream: true }),
    call("create_pull_request", { branch, title, body }),
    { answer: JSON.stringify({ summary: title, branch }) },
  ];
}

/** The model, for these or other fixes. */
export const agentFor = (planned: readonly Fix[]) =>
  scriptedAgent({
    turnsFor: (asked) => {
      const fix = planned.find(({ about }) => asked.includes(about));
      return fix === undefined ? [] : turnsOf(fix);
    },
  });

export default defineSuite({
  name: "safe-pr",
  description: "Mends real bugs, tests the mend and asks for a pull request; with a scripted model",
  datasets: [{ path: dataset }],
  scorers: [
    { type: "files_changed", strict: true },
    { type: "test_pass", weight: 1.5 },
    { type: "pr_created" },
    { type: "pr_quality", weight: 0.5, required: false },
    { type: "output_structure", keys: ["summary", "branch"] },
    { type: "no_policy_violations" },
    { type: "tool_allowlist", denied: ["git_branch", "run_command"] },
    { type: "budget_compliance", max_tool_calls: 10, max_cost_cents: 1 },
  ],
  settings: { timeout_ms: 120_000, max_parallel: 2, approvals: "approve" },
  gates: { pass_rate_threshold: 1, deterministic: true },
  model: agentFor(fixes),
  config({ workspace }) {
    const server = (name: string) => {
      const file = `../../tools/${name}/server${extname(import.meta.url)}`;
      const entry = fileURLToPath(new URL(file, import.meta.url));
      return { command: process.execPath, args: [entry, "--root", workspace] };
    };
    const mcp = join(workspace, "mcp.json");
    const servers = { git: server("git"), tests: server("test-runner") };
    writeFileSync(mcp, JSON.stringify({ mcpServers: servers }));
    return {
      mcpConfigPath: mcp,
      logLevel: "error",
      tools: toolsIn(workspace),
      allowlist: {
        allowed: ["read_file", "write_file", "git_checkout", "git_add", "git_commit", "run_tests"],
        approvalRequired: ["git_push", "create_pull_request"],
      },
    };
  },
});

const text = { type: "string" } as const;
const objectOf = (...keys: string[]) => ({
  type: "object",
  properties: Object.fromEntries(keys.map((key) => [key, text])),
  required: keys,
});

/** The tools beside the servers': files of the repository, and a forge that takes a request for a branch it has. */
function toolsIn(workspace: string) {
  const within = (repo: unknown, path: unknown): string => {
    const folder = resolve(workspace, String(repo));
    const whole = resolve(folder, String(path));
    if (folder.startsWith(workspace + sep) && whole.startsWith(folder + sep)) return whole;
    throw new Error(`${String(path)} is outside of the repository`);
  };
  let opened = 0;
  return [
    {
      name: "read_file",
      description: "Reads a file of a repository.",
      input: objectOf("repo", "path"),
      annotations: { readOnly: true },
      run: async ({ repo, path }: JsonObject) => ({
        text: await readFile(within(repo, path), "utf8"),
      }),
    },
    {
      name: "write_file",
      description: "Writes a file of a repository.",
      input: objectOf("repo", "path", "content"),
      annotations: { idempotent: true },
      run: async ({ repo, path, content }: JsonObject) => {
        await writeFile(within(repo, path), String(content));
        return { written: String(path) };
      },
    },
    {
      name: "create_pull_request",
      description: "Opens a pull request for a branch that was pushed.",
      input: objectOf("repo", "branch", "title", "body"),
      run: async ({ repo, branch }: JsonObject) => {
        const remote = within(`${String(repo)}.remote.git`, ".git").slice(0, -"/.git".length);
        await run("git", ["-C", remote, "rev-parse", "--verify", `refs/heads/${String(branch)}`]);
        opened += 1;
        return { pr_number: opened, pr_url: `https://forge.example/shop/pull/${opened}` };
      },
    },
  ];
}
