import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type RunningCli, processGroup, runCli, startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const timeout = 240_000;
const folder = useTemporaryFolder();
const elsewhere = join(folder, "elsewhere");
const library = join(import.meta.dirname, "../../cli/library.ts");
const writeInPlace = (name: string, text: string) => writeFile(join(folder, name), text);
/** As many editors save: another file in the file's place. What is written in place is empty for a moment, which is a change too. */
async function write(name: string, text: string): Promise<void> {
  await writeFile(join(elsewhere, "saved"), text);
  await rename(join(elsewhere, "saved"), join(folder, name));
}

const configuration = (rest = "") => `
import { defineConfig } from ${JSON.stringify(library)};
import { greet } from "./tools/greet.ts";
export default defineConfig({ tools: [greet], allowlist: { allowed: ["greet"] }, modelScript: "script.yaml",
  mcpConfigPath: "mcp.json", agents: { helper: { model: "scripted/one", allowedTools: ["greet"] } } });
${rest}`;
const tool = (said: string) => `
import { defineTool } from ${JSON.stringify(library)};
export const greet = defineTool({ name: "greet", description: "Greets.", input: { type: "object" },
  annotations: { readOnly: true }, run: () => ({ said: ${JSON.stringify(said)} }) });
`;
const script = (said: string) => `- reply: {content: ${said}}\n`;

let dev: RunningCli;
beforeEach(async () => {
  for (const name of ["tools", "elsewhere"]) await mkdir(join(folder, name), { recursive: true });
  await write("tools/greet.ts", tool("the first greeting"));
  await write("stateplane.config.ts", configuration());
  await write("mcp.json", '{"mcpServers": {}}');
  await write("script.yaml", script("the first answer"));
  const steps = [
    { type: "tool", input: { tool_name: "greet", tool_input: {} } },
    { type: "llm", input: { prompt: "say it" } },
  ];
  await write("steps.json", JSON.stringify(steps));
  dev = startCli(["dev", "--watch", "--store", "sqlite"], { cwd: folder });
  await starts(1);
});
afterEach(async () => {
  dev.kill("SIGKILL");
  await dev.ended;
});

/** Waits until it has started so many times. */
const starts = (count: number) => dev.says(new RegExp(`(?:Ctrl-C stops[^]*){${count}}`, "u"));
async function outputs(): Promise<string> {
  // From a folder of its own: a command reads the configuration too, and this one may be broken.
  const there = {
    cwd: elsewhere,
    env: { HOME: folder, STATEPLANE_DATA_DIR: join(folder, ".stateplane") },
  };
  const submit = ["submit", "helper", "--steps", join(folder, "steps.json"), "--watch"];
  const submitted = await runCli(submit, there);
  const id = /run_\w+/u.exec(submitted.stdout)?.[0] ?? "";
  const got = await runCli(["runs", "get", id, "--json"], there);
  expect(submitted.code, submitted.stdout + submitted.stderr + got.stdout).toBe(0);
  return got.stdout;
}

it(
  "dev --watch uses a changed tool, and a changed file that the configuration names [cli.watch]",
  { timeout },
  async () => {
    expect(await outputs()).toMatch(/the first greeting[^]*the first answer/u);
    await write("tools/greet.ts", tool("the second greeting"));
    await starts(2);
    expect(await outputs()).toMatch(/the second greeting[^]*the first answer/u);
    await write("script.yaml", script("the second answer"));
    await starts(3);
    expect(await outputs()).toMatch(/the second greeting[^]*the second answer/u);
    await write("mcp.json", '{"mcpServers": {}, "allowlist": {"allowed_tools": ["other"]}}');
    await starts(4);
    await write("server.env", "GREETING=one");
    const server = { command: process.execPath, args: ["-e", ""], envFile: "server.env" };
    await write("mcp.json", JSON.stringify({ mcpServers: { greeter: server } }));
    await starts(5);
    await writeInPlace("server.env", "GREETING=two");
    await starts(6);
    // To the first process alone, as a supervisor sends it.
    dev.kill("SIGINT");
    const { code, stderr } = await dev.ended;
    expect(code, stderr).toBe(0);
    expect(await processGroup(dev.pid)).toEqual([]);
  },
);

const mistakes: readonly [string, string, string, string | null][] = [
  ["a tool that can't be parsed", "tools/greet.ts", "export const greet = {", tool("mended")],
  [
    "an import that is not there",
    "stateplane.config.ts",
    configuration('import "./later.ts";'),
    null,
  ],
  [
    "a key that there is not",
    "stateplane.config.ts",
    "export default { concurency: 3 };",
    configuration(),
  ],
  ["an MCP file that is not JSON", "mcp.json", "{", '{"mcpServers":{} }'],
  ["a model script out of shape", "script.yaml", "- {}\n", script("mended")],
];

it(
  "dev --watch keeps what ran before, and says so, where a change can't be used [cli.watch]",
  { timeout },
  async () => {
    for (const [at, [what, file, broken, mended]] of mistakes.entries()) {
      const kept = "the change can't be used: dev goes on as it was before";
      await write(file, broken);
      await dev.says(new RegExp(`(?:${kept}[^]*){${at + 1}}`, "u"));
      expect(await outputs(), what).toMatch(/"completed"/u);
      if (mended === null) await write("later.ts", "export {};");
      else await write(file, mended);
      await starts(at + 2);
    }
    expect(await outputs()).toMatch(/mended[^]*mended/u);
    dev.kill("SIGINT");
    expect(await dev.ended).toMatchObject({ code: 0 });
  },
);
