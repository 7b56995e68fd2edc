import { execFile } from "node:child_process";
import { mkdir, mkdtemp, realpath, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface Workshop {
  /** Holds everything the example makes: repository, configuration, data. */
  folder: string;
  repository: string;
  configFile: string;
}

const note = "Every job is reported once.\nA denied tool is never run.\n";

/** Makes the repository the agent works in, and the configuration of the worker and its agent. */
export async function prepare(model: string): Promise<Workshop> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "stateplane-first-light-")));
  const repository = join(folder, "demo");
  await mkdir(repository);
  await writeFile(join(repository, "README.md"), "# Demo\n");
  const git = (...args: string[]) => run("git", ["-C", repository, ...args]);
  await git("init", "--quiet", "--initial-branch=main");
  await git("config", "user.name", "First Light");
  await git("config", "user.email", "first-light@example.com");
  await git("add", "README.md");
  await git("commit", "--quiet", "--message", "Begin");
  // What the agent will find changed, and commit.
  await writeFile(join(repository, "GUARANTEES.md"), note);
  await writeFile(join(repository, "README.md"), "# Demo\n\nSee GUARANTEES.md.\n");

  const server = join(import.meta.dirname, "../../tools/git/server.ts");
  const mcp = {
    servers: [{ name: "git", command: process.execPath, args: [server, "--root", folder] }],
    allowlist: {
      allowed_tools: ["git_status", "git_diff", "git_log", "git_add"],
      approval_required: ["git_commit"],
      denied_tools: ["git_push"],
    },
  };
  const config = {
    dataDir: "data",
    mcpConfigPath: "mcp.json",
    modelScript: "model-script.json",
    defaultModel: model,
    agents: {
      "first-light": {
        model,
        allowedTools: ["git_status", "git_diff", "git_log", "git_add", "git_commit"],
        approvalRequiredTools: ["git_commit"],
      },
    },
  };
  const look = { repo: "demo" };
  const script = [
    {
      expect: { contains: "commit message" },
      reply: {
        toolCalls: [
          { name: "git_status", arguments: look },
          { name: "git_diff", arguments: look },
        ],
      },
    },
    {
      expect: { contains: "commit message" },
      reply: { content: "Write down what is guaranteed" },
    },
  ];
  const configFile = join(folder, "stateplane.config.json");
  await writeFile(join(folder, "mcp.json"), pretty(mcp));
  await writeFile(join(folder, "model-script.json"), pretty(script));
  await writeFile(configFile, pretty(config));
  return { folder, repository, configFile };
}

const pretty = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
