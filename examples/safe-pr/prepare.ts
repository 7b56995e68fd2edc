import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, realpath, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve, sep } from "node:path";
import { promisify } from "node:util";
import { defineTool, type UsersConfig } from "../../cli/library.ts";

const run = promisify(execFile);

/** A small project with a bug, one test that finds it, and a remote to push to. */
const project: Readonly<Record<string, string>> = {
  "package.json": JSON.stringify({
    name: "shop",
    type: "module",
    private: true,
    scripts: { test: "node --test" },
  }),
  "total.js": "export const total = (prices) => prices.reduce((sum, price) => sum + price);\n",
  "test/total.test.js": `import assert from "node:assert/strict";
import { test } from "node:test";
import { total } from "../total.js";

test("adds prices", () => assert.equal(total([1, 2]), 3));
test("an empty basket costs nothing", () => assert.equal(total([]), 0));
`,
};

export interface Workshop {
  folder: string;
  /** A bare repository; git as one calls it there. */
  remote: (...args: string[]) => Promise<string>;
  config: UsersConfig;
}

/** Makes repository and remote in a folder of their own, and the configuration of the data plane. */
export async function prepare(): Promise<Workshop> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "stateplane-safe-pr-")));
  const shop = join(folder, "shop");
  await mkdir(join(shop, "test"), { recursive: true });
  for (const [name, text] of Object.entries(project)) await writeFile(join(shop, name), text);
  const git = async (...args: string[]) => (await run("git", args)).stdout;
  const remote = (...args: string[]) => git("-C", join(folder, "remote.git"), ...args);
  await git("init", "--quiet", "--bare", "--initial-branch=main", join(folder, "remote.git"));
  const own = (...args: string[]) => git("-C", shop, ...args);
  await own("init", "--quiet", "--initial-branch=main");
  await own("config", "user.name", "Safe PR");
  await own("config", "user.email", "safe-pr@example.com");
  await own("add", ".");
  await own("commit", "--quiet", "--message", "Begin");
  await own("remote", "add", "origin", join(folder, "remote.git"));
  await own("push", "--quiet", "origin", "main");

  const server = (name: string, ...more: string[]) => ({
    command: process.execPath,
    args: [join(import.meta.dirname, `../../tools/${name}/server.ts`), "--root", folder, ...more],
  });
  const mcp = { mcpServers: { git: server("git"), tests: server("test-runner") } };
  await writeFile(join(folder, "mcp.json"), JSON.stringify(mcp));
  return { folder, remote, config: configOf(folder, shop) };
}

function configOf(folder: string, shop: string): UsersConfig {
  /** Nothing outside the project is read or written. */
  const within = (path: unknown): string => {
    const whole = resolve(shop, String(path));
    if (whole.startsWith(shop + sep)) return whole;
    throw new Error(`${String(path)} is outside of the project`);
  };
  const text = { type: "string" } as const;
  const readTool = defineTool({
    name: "read_file",
    description: "Reads a file of the project.",
    input: { type: "object", properties: { path: text }, required: ["path"] },
    annotations: { readOnly: true },
    run: async ({ path }) => ({ text: await readFile(within(path), "utf8") }),
  });
  const writeTool = defineTool({
    name: "write_file",
    description: "Writes a file of the project.",
    input: {
      type: "object",
      properties: { path: text, content: text },
      required: ["path", "content"],
    },
    annotations: { idempotent: true },
    run: async ({ path, content }) => {
      await writeFile(within(path), String(content));
      return { written: String(path) };
    },
  });
  return {
    dataDir: join(folder, "data"),
    store: "sqlite",
    mcpConfigPath: join(folder, "mcp.json"),
    modelScript: join(import.meta.dirname, "model-script.json"),
    defaultModel: "scripted/safe-pr",
    logLevel: "warn",
    airlockMode: "enforce",
    tools: [readTool, writeTool],
    // What the workflow asks about is asked about by the worker's list too: whatever a definition says.
    allowlist: {
      allowed: [
        "git_log",
        "git_diff",
        "git_checkout",
        "git_add",
        "git_commit",
        "run_tests",
        "read_file",
      ],
      approvalRequired: ["write_file", "git_push"],
    },
  };
}
