import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { newProject, npm, npmEnv, packTarball, quietly } from "../support/installed-package.ts";
import { runCli, startCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/*
 * What a user gets: the package is packed as it would be published, installed into an empty project, and used there by
 * two versions of Node, the oldest that it takes and this one. One file packs it: two at once would build over each other.
 */

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const folder = useTemporaryFolder();
const project = join(folder, "project");
const runtimes = join(folder, "runtimes");
const installed = join(project, "node_modules/stateplane");
const bin = join(installed, "dist/cli/bin.js");
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  exports: Record<string, unknown>;
  engines: { node: string };
  bin: Record<string, string>;
  scripts: Record<string, string>;
};
const entries = Object.keys(manifest.exports)
  .filter((key) => key !== "./package.json")
  .map((key) => `stateplane${key.slice(1)}`);

const oldest = "22.19.0";
const binary = `npm:node-${process.platform}-${process.arch}`;
const nodeOf = (name: string) => join(runtimes, "node_modules", name, "bin/node");
const nodes = [
  { version: process.versions.node, node: process.execPath },
  { version: oldest, node: nodeOf("oldest") },
];

let tarball: string;
async function packAndInstall(): Promise<void> {
  tarball = await packTarball(folder);
  newProject(project);
  await npm(["install", ...quietly, tarball], project);
}

async function getRuntimes(): Promise<void> {
  newProject(runtimes);
  const binaries = [`oldest@${binary}@${oldest}`, `too-old@${binary}@20.19.0`];
  await npm(["install", ...quietly, "--ignore-scripts", "--no-bin-links", ...binaries], runtimes);
}

beforeAll(() => Promise.all([packAndInstall(), getRuntimes()]), 600_000);

it("takes the Node that it is tried on here [package.installs]", () => {
  expect(manifest.engines.node).toBe(`>=${oldest.replace(/\.0$/u, "")}`);
});

describe.each(nodes)("the installed package, on Node $version", ({ node }) => {
  it("gives every entry [package.installs]", async () => {
    const code = entries.map((entry) => `await import("${entry}");`).join("\n");
    const { stderr } = await run(node, ["--input-type=module", "-e", code], { cwd: project });
    // What Node 22 says of its own SQLite is for whoever imports that.
    expect(stderr.replaceAll(/.*(?:SQLite|--trace-warnings).*\n/gu, "")).toBe("");
  });

  it("runs its program [package.installs]", async () => {
    const cwd = join(folder, `dev-${node === process.execPath ? "this" : "oldest"}`);
    mkdirSync(cwd);
    const program = { node, bin };
    expect(await runCli(["--version"], { cwd, program })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^stateplane \d+\.\d+\.\d+\n$/u),
    });
    const dev = startCli(["dev", "--store", "sqlite", "--json"], { cwd, program });
    const said = await dev.says(/"kind":"ready".*\n/u);
    // The console's own modules, and the libraries that it imports, wherever npm has put them.
    const [, url = ""] = /"url":"([^"]+)"/.exec(said) ?? [];
    const page = await (await fetch(url)).text();
    const [main = ""] = /\/console\/page\/main\.\w+/.exec(page) ?? [];
    const script = await (await fetch(url + main)).text();
    const [library = ""] = /\/console\/modules\/preact\/[\w./-]+/.exec(script) ?? [];
    expect((await fetch(url + library)).headers.get("content-type")).toMatch(/^text\/javascript/);
    dev.kill("SIGTERM");
    expect(await dev.ended).toMatchObject({
      code: 0,
      stderr: "stopping: steps may finish; Ctrl-C again hands them back now\n",
    });
  });
});

it.each([
  ["stateplane", "dist/cli/bin.js"],
  ["stateplane-mcp-git", "dist/tools/git/server.js"],
  ["stateplane-mcp-test-runner", "dist/tools/test-runner/server.js"],
])("tells a Node that is too old in one line: %s [package.installs]", async (name, file) => {
  const program = { node: nodeOf("too-old"), bin: join(installed, file) };
  expect(manifest.bin[name]).toBe(`./${file}`);
  expect(await runCli(["dev"], { cwd: project, program })).toEqual({
    code: 2,
    stdout: "",
    stderr: `${name} needs Node 22.19 or later; this is v20.19.0; npm install node@24 brings one to a project\n`,
  });
});

it("tells a Node that is too old in one line in a checkout too, whichever script starts it [package.installs]", async () => {
  const tooOld = { PATH: `${dirname(nodeOf("too-old"))}:${process.env["PATH"]}` };
  const scripts = Object.values(manifest.scripts).filter((line) => line.endsWith(".ts"));
  expect(scripts).toContain(manifest.scripts["start"]);
  for (const line of scripts) {
    await expect(run("sh", ["-c", line], { cwd: root, env: tooOld })).rejects.toMatchObject({
      code: 2,
      stdout: "",
      stderr: "stateplane needs Node 22.19 or later; this is v20.19.0\n",
    });
  }
});

it("says in a clone without its packages how to install them [package.installs]", async () => {
  const clone = join(folder, "clone");
  mkdirSync(join(clone, "cli"), { recursive: true });
  copyFileSync(join(root, "cli/checkout.cjs"), join(clone, "cli/checkout.cjs"));
  const missing = "stateplane: its packages are not installed; run: npm ci";
  const brings = ", which brings a Node that fits (this is v20.19.0)";
  const tooOld = `${dirname(nodeOf("too-old"))}:${process.env["PATH"]}`;
  for (const script of ["start", "setup", "stateplane"]) {
    const line = ["-c", manifest.scripts[script] ?? ""];
    await expect(run("sh", line, { cwd: clone })).rejects.toMatchObject({
      code: 2,
      stderr: `${missing}\n`,
    });
    const env = { PATH: tooOld };
    await expect(run("sh", line, { cwd: clone, env })).rejects.toMatchObject({
      code: 2,
      stderr: `${missing}${brings}\n`,
    });
  }
});

it("compiles under strict, with every entry's types checked to their ends [package.installs]", async () => {
  const names = entries.map((entry, at) => `import * as entry${at} from "${entry}";`);
  const uses = entries.map((_, at) => `entry${at}`).join(", ");
  const config = `
import { defineConfig, defineHandler, definePolicy, defineTool, verdict } from "stateplane";
const greet = defineTool({
  name: "greet",
  description: "Says hello.",
  input: { type: "object", properties: { name: { type: "string" } } },
  run: ({ name }, { signal }) => ({ said: signal.aborted ? null : \`hello \${String(name)}\` }),
});
const policy = definePolicy(({ kind }) => (kind === "tool" ? verdict.allow("a tool") : verdict.ask("?")));
const handler = defineHandler(async ({ job }, next) => (job.stepType === "tool" ? next() : next()));
export default defineConfig({ tools: [greet], policy, handlers: { "tool:greet": handler, llm: handler } });
// @ts-expect-error -- a key that there is not
defineConfig({ concurency: 3 });
// @ts-expect-error -- a verdict of no kind
definePolicy(() => ({ kind: "denied", reason: "" }));
`;
  writeFileSync(join(project, "config.ts"), config);
  writeFileSync(join(project, "entries.ts"), `${names.join("\n")}\nexport default [${uses}];\n`);
  const compilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: false,
    module: "nodenext",
    target: "es2024",
    lib: ["es2024", "esnext.disposable"],
    types: ["node"],
    typeRoots: [join(root, "node_modules/@types")],
  };
  const files = ["config.ts", "entries.ts"];
  writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const tsc = join(root, "node_modules/.bin/tsc");
  const { stdout } = await run(tsc, ["-p", project]).catch((error: { stdout: string }) => error);
  expect(stdout).toBe("");
});

it("makes a project whose test passes and whose types are sound under strict [package.installs]", async () => {
  // Below the project that has the package; the compiler and Node's types beside it, as the page on the first step says.
  const made = join(project, "made");
  mkdirSync(join(made, "node_modules/@types"), { recursive: true });
  for (const name of ["typescript", "@types/node"]) {
    symlinkSync(join(root, "node_modules", name), join(made, "node_modules", name));
  }
  expect(
    await runCli(["init"], { cwd: made, program: { node: process.execPath, bin } }),
  ).toMatchObject({ code: 0 });
  const { stdout: tested } = await npm(["test"], made);
  expect(tested).toMatch(/^\S+ pass 1$/mu);
  const tsc = join(made, "node_modules/typescript/bin/tsc");
  const checked = () =>
    run(process.execPath, [tsc, "-p", "."], { cwd: made }).catch((e: { stdout: string }) => e);
  expect((await checked()).stdout).toBe("");
  // It does look: a fault of the user's is found.
  writeFileSync(join(made, "fault.ts"), 'export const fault: number = "text";\n');
  expect((await checked()).stdout).toContain("fault.ts");
});

it("loads no vendor's SDK and no test tool with the library, and no map points nowhere [package.light]", async () => {
  const code = `
    import { registerHooks } from "node:module";
    const loaded = new Set();
    registerHooks({ load: (url, context, next) => {
      loaded.add(/.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/u.exec(url)?.[1]);
      return next(url, context);
    } });
    await import("stateplane");
    console.log([...loaded].filter((name) => name !== undefined).sort().join("\\n"));
  `;
  const { stdout } = await run(process.execPath, ["--input-type=module", "-e", code], {
    cwd: project,
  });
  const light = [
    "stateplane",
    "xstate",
    "arktype",
    "@ark/",
    "arkregex",
    "@opentelemetry/api",
    "safe-stable-stringify",
  ];
  const heavy = stdout
    .trim()
    .split("\n")
    .filter((name) => !light.some((known) => name === known || name.startsWith(known)));
  expect(heavy).toEqual([]);
  const others = entries.filter((entry) => entry !== "stateplane/testing");
  const everything = await run(
    process.execPath,
    [
      "--input-type=module",
      "-e",
      code.replace(
        'await import("stateplane");',
        others.map((entry) => `await import("${entry}");`).join("\n"),
      ),
    ],
    { cwd: project },
  );
  for (const name of ["openai", "@anthropic-ai/sdk", "fast-check", "@xstate/graph", "redis-om"]) {
    expect(everything.stdout.split("\n")).not.toContain(name);
  }
  const { stdout: listed } = await run("find", [installed, "-name", "*.map"]);
  expect(listed).toBe("");
});

/*
 * docs/first-step.md, typed in as it stands: each `$` line of its console blocks is run in an empty folder, and what it
 * prints must be what the page shows, but for ids, ports, paths and times.
 */

const page = readFileSync(join(root, "docs/first-step.md"), "utf8");
const newcomers = join(folder, "my-agent");

interface Typed {
  command: string;
  shown: string;
}
const typed: Typed[] = [...page.matchAll(/```console\n\$ (.*)\n([\s\S]*?)```/gu)].map(
  ([, command = "", shown = ""]) => ({ command, shown }),
);

/** Without what differs from one time to the next. */
const timeless = (text: string) =>
  text
    .replaceAll(newcomers, "/home/me/my-agent")
    .replaceAll(/\b(run|stp|apr)_\w+/gu, "$1_ID")
    .replaceAll(/127\.0\.0\.1:\d+/gu, "127.0.0.1:PORT")
    .replaceAll(/\*{3}\w{4}/gu, "***KEY")
    .replaceAll(/\b[0-9a-f]{64}\b/gu, "DIGEST")
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/gu, "TIME")
    .replaceAll(/^((?:store|sandbox) +).*$/gmu, "$1…")
    .replaceAll(/ +/gu, " ")
    .trim();

/** A reader is slower than the worker; a test is not. */
const isTooEarly = (command: string, said: string) =>
  said.startsWith("nothing waits") || (command.includes("runs get") && !said.includes("completed"));

const children: ChildProcess[] = [];
afterAll(async () => {
  for (const child of children) {
    if (child.exitCode !== null || child.pid === undefined) continue;
    process.kill(-child.pid, "SIGINT");
    await once(child, "exit");
  }
});

function type(command: string) {
  const { ANTHROPIC_API_KEY: _a, OPENAI_API_KEY: _o, REDIS_URL: _r, ...env } = npmEnv;
  const child = spawn("sh", ["-c", command], { cwd: newcomers, env, detached: true });
  children.push(child);
  let said = "";
  child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = once(child, "close").then(() => said);
  return { said: () => said, ended };
}

it(
  "takes a newcomer to an approved call of a tool of their own [package.first-step]",
  { timeout: 300_000 },
  async () => {
    mkdirSync(newcomers);
    const ids = new Map<string, string>();
    const transcript: string[] = [];
    for (const { command, shown } of typed) {
      const filled = command
        .replace("npm install stateplane", `npm install ${quietly.join(" ")} ${tarball}`)
        .replaceAll(/\b(run|apr)_\w+/gu, (id, kind: string) => ids.get(kind) ?? id);
      let said = "";
      if (command.includes(" dev ")) {
        const dev = type(filled);
        while (!dev.said().includes("Ctrl-C stops.")) await sleep(50);
        said = dev.said().replace(/(?<=Ctrl-C stops\.)[^]*/u, "");
      } else {
        do said = await type(filled).ended;
        while (isTooEarly(command, said));
      }
      for (const [id, kind = ""] of said.matchAll(/\b(run|apr)_\w+/gu)) ids.set(kind, id);
      transcript.push(`$ ${command}\n${said}`);
      // What npm and Node's test runner print is theirs.
      if (shown.trim() === "") continue;
      expect.soft(timeless(said), command).toBe(timeless(shown));
    }
    process.stdout.write(`${transcript.join("\n")}\n`);
    expect(typed.length).toBeGreaterThan(6);
  },
);
