import { execFile, spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { useTestRunnerRoom } from "../support/test-runner-room.ts";

const run = promisify(execFile);
const never = new AbortController().signal;
const { outside, root, server, host, makeProject, call, refusal } = useTestRunnerRoom([
  "--command",
  "words=printf %s|%s one two;three",
  "--command",
  "write=touch made",
]);

/** A project whose one test runs a program and says on its first failing line what came of it. */
const testOf = (code: string) => ({
  "package.json": JSON.stringify({ type: "module", scripts: { test: "node --test" } }),
  "a.test.mjs": `import test from "node:test";\nimport fs from "node:fs";\ntest("a", async () => {\n${code}\n});\n`,
});

async function outcome(code: string, timeout_seconds = 60): Promise<string> {
  await makeProject("hostile", testOf(code));
  const answer = await callTool(host, "run_tests", { repo: "hostile", timeout_seconds }, never);
  return answer.ok ? JSON.stringify(answer.value.content) : answer.failure.message;
}

describe("a project's code", () => {
  test("sees nothing of this machine outside the root, and none of our environment [tests.sandbox]", async () => {
    await writeFile(join(outside, "secret"), "the secret");
    const told = await outcome(`
      const seen = {};
      for (const path of ["${outside}/secret", "/etc/passwd", "/root", "/home", "/proc/1/environ"])
        try { seen[path] = fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path, "utf8"); }
        catch (error) { seen[path] = error.code; }
      throw new Error(JSON.stringify({ seen, env: Object.keys(process.env) }));`);
    expect(told).toContain("failed");
    expect(told).not.toContain("the secret");
    expect(told).not.toContain("root:");
    expect(told).not.toMatch(/STATEPLANE|VITEST|npm_/);
  });

  test("writes in its own folder alone, and neither into .git nor node_modules [tests.sandbox]", async () => {
    await mkdir(join(root, "other"));
    await mkdir(join(root, "hostile", ".git", "hooks"), { recursive: true });
    await mkdir(join(root, "hostile", "node_modules"), { recursive: true });
    const told = await outcome(`
      const places = ["${root}", "${root}/other", "/usr", ".git/hooks", "node_modules", "."];
      const done = places.map((place) => {
        try { fs.writeFileSync(place + "/written", "x"); return place + " yes"; } catch { return place + " no"; }
      });
      throw new Error(done.join("; "));`);
    expect(told).toContain(
      `${root} no; ${root}/other no; /usr no; .git/hooks no; node_modules no; . yes`,
    );
    expect(existsSync(join(root, "hostile", "written"))).toBe(true);
  });

  test("has no network, not even this machine's [tests.sandbox]", async () => {
    let asked = 0;
    const http = createServer((_, response) => {
      asked += 1;
      response.end();
    });
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    const { port } = http.address() as AddressInfo;
    const told = await outcome(`await fetch("http://127.0.0.1:${port}/");`);
    http.close();
    expect(told).toContain("fetch failed");
    expect(asked).toBe(0);
  });

  test("has no capability and cannot gain one [tests.sandbox]", async () => {
    const told = await outcome(`
      const { spawnSync } = await import("node:child_process");
      const status = fs.readFileSync("/proc/self/status", "utf8");
      const tries = [["unshare", "--user", "true"], ["mount", "-t", "tmpfs", "none", "/tmp"], ["sh", "-c", "echo 1 > /proc/sys/kernel/printk"]];
      const won = tries.filter(([program, ...args]) => spawnSync(program, args).status === 0);
      throw new Error(JSON.stringify({ won, caps: /CapEff:\\s*(\\w+)/.exec(status)[1] }));`);
    expect(told).toContain(String.raw`{\"won\":[],\"caps\":\"0000000000000000\"}`);
  });

  test("that puts a link in its report's place gets nothing read that it could not read [tests.sandbox]", async () => {
    await writeFile(join(outside, "secret"), "the secret");
    const told = await outcome(`
      process.on("exit", () => {});
      const { spawn } = await import("node:child_process");
      const link = "for n in 1 2 3 4 5 6; do ln -sf ${outside}/secret /tmp/.reports/report; sleep 0.1; done";
      spawn("sh", ["-c", link], { detached: true, stdio: "ignore" }).unref();`);
    expect(told).not.toContain("the secret");
  });

  test("that never ends is stopped in its time, with all that it started [tests.bounds]", async () => {
    const mark = `sleep 98${process.pid}`;
    // Without a bound it would go on for longer than this test may take.
    const told = await outcome(
      `const { spawn } = await import("node:child_process");
       spawn("setsid", ["sh", "-c", "${mark} & ${mark}"], { detached: true, stdio: "inherit" }).unref();
       await new Promise((resolve) => setTimeout(resolve, 600_000));`,
      2,
    );
    expect(told).toContain("node took longer than 2 s and was stopped");
    expect(runningWith(mark)).toEqual([]);
  });

  test("that is cancelled ends, with all that it started [tests.bounds]", async () => {
    const mark = `sleep 97${process.pid}`;
    await makeProject(
      "hostile",
      testOf(
        `const { spawnSync } = await import("node:child_process"); spawnSync("sh", ["-c", "${mark}"]);`,
      ),
    );
    const abort = new AbortController();
    const cut = callTool(host, "run_tests", { repo: "hostile" }, abort.signal);
    await expect.poll(() => runningWith(mark), { timeout: 20_000 }).not.toEqual([]);
    abort.abort();
    await cut;
    await expect.poll(() => runningWith(mark), { timeout: 20_000 }).toEqual([]);
  });

  test("that leaves a process behind leaves none, even without a sandbox [tests.bounds]", async () => {
    const mark = `sleep 96${process.pid}`;
    await makeProject(
      "hostile",
      testOf(
        `const { spawn } = await import("node:child_process");
         spawn("setsid", ["sh", "-c", "${mark}"], { detached: true, stdio: "ignore" }).unref();`,
      ),
    );
    const answer = await askOnce(["--no-sandbox"], "run_tests", { repo: "hostile" });
    expect(answer.stderr).toContain("without a sandbox, the project's code runs with all that");
    expect(answer.result).toMatchObject({ structuredContent: { ok: true, passed: 1 } });
    expect(runningWith(mark)).toEqual([]);
  });

  test("that floods its output fills no memory, and its report is read all the same [tests.bounds]", async () => {
    const told = await outcome(
      `const { spawnSync } = await import("node:child_process");
       spawnSync("sh", ["-c", "head -c 12000000 /dev/zero | tr '\\\\0' x | tee /dev/stderr"], { stdio: "inherit" });
       throw new Error("flooded");`,
    );
    expect(told).toContain('"message":"flooded"');
    expect(told.length).toBeLessThan(100_000);
  });

  test("that forks without end is stopped [tests.bounds]", async () => {
    const told = await outcome(
      `const { spawn } = await import("node:child_process");
       for (let n = 0; n < 700; n += 1) spawn("sleep", ["60"], { stdio: "ignore" }).on("error", () => {});
       await new Promise((resolve) => setTimeout(resolve, 50_000));`,
    );
    expect(told).toContain("too much memory or too many processes");
  });
});

describe("a hostile caller of the test-runner server", () => {
  beforeEach(async () => {
    await makeProject("project", {
      "pyproject.toml": "",
      "test_a.py": "def test_a(): pass\n",
      "-p evil": "",
      "--rootdir=x": "",
    });
    await mkdir(join(outside, "beside"), { recursive: true });
    await writeFile(join(outside, "beside", "test_b.py"), "def test_b(): pass\n");
    await symlink(join(outside, "beside"), join(root, "linked"));
    await symlink(join(outside, "beside"), join(root, "project", "way-out"));
    await symlink(join(outside, "beside", "test_b.py"), join(root, "project", "test_link.py"));
  });

  test.each([
    ["..", "must be inside the root"],
    ["/etc", "must be inside the root"],
    ["linked", "must be inside the root"],
    ["project/../..", "must be inside the root"],
    ["project/way-out", "must be inside the root"],
    ["missing", "there is no folder"],
    ["project/test_a.py", "is not a folder"],
    ["project/.git", "must not lead into .git"],
    ["project\0", "must be inside the root"],
    ["", "must be inside the root"],
  ])(
    "names the project %j and is told by every tool: %s [tests.arguments]",
    async (repo, reason) => {
      for (const tool of ["run_tests", "lint", "type_check", "detect"]) {
        expect(await refusal(tool, { repo }), tool).toContain(reason);
      }
      expect(await refusal("run_command", { repo, command: "write" })).toContain(reason);
    },
  );

  test.each([
    ["-p evil", "begins with a dash"],
    ["--rootdir=x", "begins with a dash"],
    ["--rootdir=/etc", "begins with a dash"],
    ["-c evil.ini", "begins with a dash"],
    ["--junit-xml=/tmp/x", "begins with a dash"],
    ["../beside/test_b.py", "must be inside the project"],
    ["../../x", "must be inside the project"],
    ["way-out/test_b.py", "must be inside the project"],
    ["way-out", "must be inside the project"],
    ["test_link.py", "must be inside the project"],
    ["/etc/passwd", "must be inside the project"],
    ["test_a.py\n", "control character"],
    ["test_a.py::test_a", "there is no"],
    ["test_*.py", "there is no"],
    ["$(touch made)", "there is no"],
    ["test_a.py; touch made", "there is no"],
    ["", "must be inside the project"],
    ["a\0", "must be inside the project"],
  ])("gives the path %j and is told by every tool: %s [tests.arguments]", async (path, reason) => {
    const input = { repo: "project", paths: [path] };
    expect(await refusal("run_tests", { ...input, runner: "pytest" })).toContain(reason);
    expect(await refusal("run_tests", { ...input, runner: "vitest" })).toContain(reason);
    expect(await refusal("lint", { ...input, tool: "ruff" })).toContain(reason);
    expect(await refusal("type_check", { ...input, tool: "mypy" })).toContain(reason);
    expect(existsSync(join(root, "project", "made"))).toBe(false);
  });

  test.each([
    "-p evil_plugin",
    "--collect-only",
    "a\nb",
    "a\0b",
    "__import__('os')",
    "a;b",
    "$(x)",
  ])("gives the name %j to pytest and is refused [tests.arguments]", async (name) => {
    expect(await refusal("run_tests", { repo: "project", runner: "pytest", name })).toMatch(
      /name must be a part of|finds tests by words/,
    );
  });

  test.each([
    { extra_args: ["-p", "evil"] },
    { config: "evil.ini" },
    { watch: true },
    { fix: true },
    { command: "sh -c 'touch made'" },
    { timeout_seconds: 0 },
    { timeout_seconds: 1e9 },
    { runner: "sh" },
    { paths: "test_a.py" },
  ] as JsonObject[])("gives %j, which no tool takes [tests.arguments]", async (more) => {
    const asked = await callTool(host, "run_tests", { repo: "project", ...more }, never);
    expect(asked).toMatchObject({ ok: false, failure: { kind: "invalid_input" } });
  });

  test.each(["sh", "write; touch made", "write touch", "WRITE", "", "--", "/bin/sh"])(
    "runs the command %j, which is on no list [tests.arguments]",
    async (command) => {
      const message = await refusal("run_command", { repo: "project", command });
      expect(message).toContain("no command of that name is allowed; allowed are: words, write");
    },
  );

  test("gets an allowed command exactly as it stands, without a shell [tests.arguments]", async () => {
    expect(await call("run_command", { repo: "project", command: "words" })).toMatchObject({
      ok: true,
      stdout: "one|twothree".replace("twothree", "two;three"),
    });
    expect(await call("run_command", { repo: "project", command: "write" })).toMatchObject({
      exitCode: 0,
    });
    expect(existsSync(join(root, "project", "made"))).toBe(true);
    const plain = await askOnce([], "tools/list");
    expect(JSON.stringify(plain.result)).not.toContain("run_command");
  });
});

test("where no sandbox can be built nothing runs, and it is said how to go on [tests.sandbox]", async () => {
  await makeProject("project", testOf('fs.writeFileSync("ran", "x");'));
  const bin = join(outside, "bin");
  await mkdir(bin, { recursive: true });
  await writeFile(join(bin, "bwrap"), "#!/bin/sh\necho no permission >&2\nexit 1\n", {
    mode: 0o755,
  });
  const PATH = `${bin}:${process.env["PATH"] ?? ""}`;
  const { result } = await askOnce([], "run_tests", { repo: "project" }, { PATH });
  expect(result).toMatchObject({ isError: true });
  expect(JSON.stringify(result)).toContain(
    "no sandbox works here (no permission): let bubblewrap make namespaces here",
  );
  expect(JSON.stringify(result)).toContain("--no-sandbox: then the project's code runs with all");
  expect(existsSync(join(root, "project", "ran"))).toBe(false);
  await rm(bin, { recursive: true });
});

test.each([
  [[], "give --root DIR, or set FD_WORKSPACE_DIR"],
  [["--root", "/", "--timeout", "soon"], "--timeout soon: expected a whole number of seconds"],
  [["--root", "/", "--command", "x"], "--command x: expected NAME=PROGRAM"],
  [["--root", "/no/such/folder"], "no such file or directory"],
  [["--root", "/", "--shell", "x"], "Unknown option '--shell'"],
])("it does not start with %j, and says why in one line", async (args, reason) => {
  const env = { PATH: process.env["PATH"] };
  const started = run(process.execPath, [server, ...args], { env });
  await expect(started).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringMatching(new RegExp(`^stateplane-mcp-test-runner: [^\\n]*\\n$`)),
  });
  await expect(started).rejects.toMatchObject({ stderr: expect.stringContaining(reason) });
});

/** One exchange with a server of its own. */
async function askOnce(
  options: readonly string[],
  tool: string,
  input: JsonObject = {},
  env: Record<string, string> = {},
): Promise<{ result: JsonObject; stderr: string }> {
  const child = spawn(process.execPath, [server, "--root", root, ...options], {
    env: { PATH: process.env["PATH"], ...env },
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk) => (stdout += chunk));
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const send = (message: object) =>
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  const clientInfo = { name: "test", version: "0" };
  const hello = { protocolVersion: "2025-06-18", capabilities: {}, clientInfo };
  send({ id: 1, method: "initialize", params: hello });
  send({ method: "notifications/initialized" });
  send(
    tool === "tools/list"
      ? { id: 2, method: tool }
      : { id: 2, method: "tools/call", params: { name: tool, arguments: input } },
  );
  const answer = () =>
    stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as { id?: number; result?: JsonObject })
      .find(({ id }) => id === 2);
  await expect.poll(answer, { timeout: 100_000 }).toBeDefined();
  const closed = new Promise((resolve) => child.once("close", resolve));
  child.stdin.end();
  await closed;
  return { result: answer()?.result ?? {}, stderr };
}

/** The ids of processes on whose command line a text stands. */
function runningWith(text: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").startsWith(text);
    } catch {
      return false;
    }
  });
}

test("the text that a person gets has each failing test's name, place and message [tests.report]", async () => {
  await makeProject("project", testOf('throw new Error("badly");'));
  const { result } = await askOnce([], "run_tests", { repo: "project" });
  const [part] = result["content"] as { text: string }[];
  expect(part?.text).toMatch(
    /^FAILED node: 1 failed, 0 passed, 0 skipped in \d+\.\d s\n\nFAILED a \(a\.test\.mjs:4\)\n {4}badly$/,
  );
  expect(await readFile(join(root, "project", "a.test.mjs"), "utf8")).toContain("badly");
});
