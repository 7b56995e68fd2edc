import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { failure } from "./failure.ts";
import { useTemporaryFolder } from "./temporary-folder.ts";
import { value } from "./value.ts";
import { callTool } from "./call-tool.ts";

const run = promisify(execFile);
const never = new AbortController().signal;
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

export interface GitRoom {
  /** A folder of this test file alone, that holds everything below. */
  root: string;
  /** What the server is given; empty at the start of each test. */
  workspace: string;
  /** A file that is not there: it appears only where an attack succeeds. */
  canary: string;
  /** The file the server is run from. */
  server: string;
  host: ToolHost;
  /** Plain git as a person runs it, with nothing guarded. */
  git(cwd: string, ...args: string[]): Promise<string>;
  /** A repository in the workspace with one commit of `a.txt`. */
  makeRepository(name: string): Promise<string>;
  /** What a call to a tool brings. */
  call(tool: string, input: JsonObject): Promise<Json>;
  /** The message of a refusal by the tool itself. */
  refusal(tool: string, input: JsonObject): Promise<string>;
}

/**
 * The git server over a workspace of its own, for all tests of a file; cleans up after each and after all.
 *
 * @param options - more of its command line
 */
export function useGitRoom(options: readonly string[] = [], serverEnv = {}): GitRoom {
  const root = useTemporaryFolder();
  const workspace = join(root, "workspace");
  const canary = join(root, "canary");
  const server = fileURLToPath(new URL("../../tools/git/server.ts", import.meta.url));
  const host = createToolHost({
    schemas: createSchemaChecker(),
    servers: [
      {
        name: "git",
        command: process.execPath,
        args: [server, "--root", workspace, ...options],
        env: serverEnv,
      },
    ],
    log,
    clientInfo: { name: "stateplane-test", version: "0" },
  });
  const git: GitRoom["git"] = async (cwd, ...args) => {
    const env = { PATH: process.env["PATH"], HOME: root, GIT_CONFIG_NOSYSTEM: "1" };
    return (await run("git", args, { cwd, env })).stdout.trim();
  };

  beforeAll(() => mkdir(workspace));
  afterEach(async () => {
    await rm(workspace, { recursive: true });
    await mkdir(workspace);
    await rm(canary, { force: true });
  });
  afterAll(() => host.close());

  return {
    root,
    workspace,
    canary,
    server,
    host,
    git,
    async makeRepository(name) {
      const folder = join(workspace, name);
      await mkdir(folder);
      await git(folder, "init", "--quiet", "--initial-branch=main");
      await git(folder, "config", "user.name", "Ada");
      await git(folder, "config", "user.email", "ada@example.org");
      await writeFile(join(folder, "a.txt"), "one\n");
      await git(folder, "add", "a.txt");
      await git(folder, "commit", "--quiet", "--message=first");
      return folder;
    },
    call: async (tool, input) => value(await callTool(host, tool, input, never)).content,
    async refusal(tool, input) {
      const refused = failure(await callTool(host, tool, input, never));
      expect(refused.kind).toBe("tool_failed");
      return refused.message;
    },
  };
}
