import { mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { callTool } from "./call-tool.ts";
import { failure } from "./failure.ts";
import { useTemporaryFolder } from "./temporary-folder.ts";
import { value } from "./value.ts";

const never = new AbortController().signal;
const quiet = () => undefined;
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
const modules = fileURLToPath(new URL("../../node_modules", import.meta.url));

export interface TestRunnerRoom {
  /** A folder of this test file alone, that holds everything below. */
  outside: string;
  /** What the server is given; empty at the start of each test. */
  root: string;
  server: string;
  host: ToolHost;
  /** Writes a project into the root; `tools` are packages of this repository that it gets. */
  makeProject(
    name: string,
    files: Record<string, string>,
    tools?: readonly string[],
  ): Promise<string>;
  call(tool: string, input: JsonObject): Promise<Json>;
  /** The message of a refusal by the tool itself. */
  refusal(tool: string, input: JsonObject): Promise<string>;
}

/** The test-runner server over a root of its own, for all tests of a file; cleans up after each and after all. */
export function useTestRunnerRoom(options: readonly string[] = []): TestRunnerRoom {
  const outside = useTemporaryFolder();
  const root = join(outside, "root");
  const server = fileURLToPath(new URL("../../tools/test-runner/server.ts", import.meta.url));
  const { PATH = "" } = process.env;
  const host = createToolHost({
    schemas: createSchemaChecker(),
    servers: [
      {
        name: "tests",
        command: process.execPath,
        args: [server, "--root", root, "--show", modules, ...options],
        env: { PATH },
      },
    ],
    log,
    clientInfo: { name: "stateplane-test", version: "0" },
  });
  beforeAll(() => mkdir(root));
  afterEach(async () => {
    await rm(root, { recursive: true });
    await mkdir(root);
  });
  afterAll(() => host.close());

  return {
    outside,
    root,
    server,
    host,
    async makeProject(name, files, tools = []) {
      const folder = join(root, name);
      await mkdir(folder, { recursive: true });
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), content);
      }
      if (tools.length === 0) return folder;
      await mkdir(join(folder, "node_modules", ".bin"), { recursive: true });
      for (const tool of tools) {
        await symlink(join(modules, tool), join(folder, "node_modules", tool));
        await symlink(join(modules, ".bin", tool), join(folder, "node_modules", ".bin", tool));
      }
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
