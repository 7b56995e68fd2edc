import { execFile } from "node:child_process";
import { mkdtemp, open, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFerrumDeckGateway, type FerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { type CliResult, runCli, startCli } from "../support/run-cli.ts";

const bin = join(import.meta.dirname, "../../cli/bin.ts");

let folder: string;
let gateway: FerrumDeckGateway;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane-cli-"));
  gateway = await startFerrumDeckGateway({
    failing: (request) => {
      const isUnknown = JSON.stringify(request.body ?? "").includes("nobody");
      const error = { code: "NOT_FOUND", message: "Agent nobody not found" };
      return isUnknown ? { status: 404, body: { error } } : null;
    },
  });
  await writeFile(join(folder, "broken.yaml"), "store: [\n");
  await writeFile(join(folder, "large.json"), JSON.stringify({ task: "x".repeat(3_000_000) }));
});
afterAll(async () => {
  await gateway.close();
  await rm(folder, { recursive: true, force: true });
});

const secret = "k3y-that-nobody-may-see";
const at = (env: Record<string, string> = {}) => ({
  cwd: folder,
  env: { CONTROL_PLANE_URL: gateway.url, FD_API_KEY: gateway.apiKey, ...env },
});
const nowhere = "http://127.0.0.1:1";

/** One line on standard error, nothing on standard output, no stack, no secret. */
function expectTrouble(result: CliResult, code: number, text: string | RegExp) {
  expect(result.stderr).toMatch(text);
  expect(result.stderr.trimEnd().split("\n")).toHaveLength(1);
  expect(result.stderr).not.toContain(secret);
  expect(result.stdout).toBe("");
  expect(result.code).toBe(code);
}

describe.concurrent("trouble is one line and an exit code", () => {
  const worker = { REDIS_URL: "redis://127.0.0.1:1" };
  const cases: [string, string[], () => Parameters<typeof runCli>[1], number, RegExp][] = [
    ["an unknown command", ["frob"], at, 2, /unknown command 'frob'/],
    [
      "a limit that nobody knows",
      ["submit", "a", "--input", '{"task": "x", "budget": {"max_tool_call": 1}}'],
      at,
      2,
      /budget\.max_tool_call: there is no key "max_tool_call" here; did you mean "max_tool_calls"\?/,
    ],
    [
      "a word that a group does not have",
      ["steps", "list"],
      at,
      2,
      /steps: unknown command 'list'; expected show or replay \(see/,
    ],
    [
      "a file of policies that is not there",
      ["policy", "apply", "no.yaml"],
      at,
      2,
      /stateplane: no\.yaml: no such file$/m,
    ],
    [
      "a data folder that is a file",
      ["dev", "--data-dir", import.meta.filename],
      at,
      2,
      /trouble\.test\.ts: [a-z ]+ \(E[A-Z]+\)$/m,
    ],
    ["a misspelt command", ["submitt"], at, 2, /did you mean submit\?/],
    ["an unknown flag", ["submit", "a", "--frob"], at, 2, /submit: unknown option '--frob'/],
    ["no control plane", ["runs", "list"], () => ({ cwd: folder }), 2, /CONTROL_PLANE_URL is not/],
    [
      "no key",
      ["runs", "list"],
      () => ({ cwd: folder, env: { CONTROL_PLANE_URL: nowhere } }),
      2,
      /FD_API_KEY is not set/,
    ],
    [
      "a bad key",
      ["runs", "list"],
      () => at({ FD_API_KEY: secret }),
      2,
      /refuses the key in FD_API_KEY \(.*key.*\)/,
    ],
    [
      "a control plane that is away",
      ["runs", "get", "run_1"],
      () => at({ CONTROL_PLANE_URL: nowhere }),
      3,
      /can't be reached: .*127\.0\.0\.1:1: ECONNREFUSED/,
    ],
    [
      "a malformed address",
      ["runs", "list"],
      () => at({ CONTROL_PLANE_URL: "localhost:8080" }),
      2,
      /environment variable CONTROL_PLANE_URL\): expected an http/,
    ],
    [
      "an unknown agent",
      ["submit", "nobody", "--task", "t"],
      at,
      2,
      /there is no agent named nobody; see: .*agents list/,
    ],
    ["an unknown run", ["runs", "get", "nope"], at, 2, /: Run nope not found/],
    ["no task", ["submit", "a"], at, 2, /expected one of --task/],
    [
      "two tasks",
      ["submit", "a", "--task", "x", "--input", "{}"],
      at,
      2,
      /expected one of --task.*not --task and --input together/,
    ],
    ["bad JSON", ["submit", "a", "--input", "{bad"], at, 2, /--input: expected JSON.*column 2/],
    ["no such file", ["submit", "a", "--file", "no.json"], at, 2, /no\.json: no such file/],
    [
      "a body over the limit",
      ["submit", "a", "--file", "large.json"],
      at,
      2,
      /length limit exceeded/,
    ],
    [
      "steps for a control plane that plans its own",
      ["submit", "a", "--steps", "-"],
      () => ({ ...at(), stdin: "- type: approval" }),
      2,
      /plans its steps itself/,
    ],
    ["a bad limit", ["runs", "list", "--limit", "0"], at, 2, /--limit: expected a whole number/],
    ["a broken file", ["config", "--config", "broken.yaml"], at, 2, /broken\.yaml\): expected val/],
    [
      "a bad variable",
      ["config"],
      () => at({ WORKER_CONCURRENCY: secret }),
      2,
      /environment variable WORKER_CONCURRENCY\): expected a whole number/,
    ],
    ["a worker with nothing set", ["worker"], () => ({ cwd: folder }), 2, /REDIS_URL.*FD_API_KEY/],
    [
      "a worker without a key",
      ["worker"],
      () => ({ cwd: folder, env: { ...worker, CONTROL_PLANE_URL: nowhere } }),
      2,
      /worker needs FD_API_KEY/,
    ],
    [
      "a store that is away",
      ["worker"],
      () => at({ REDIS_URL: `redis://:${secret}@127.0.0.1:1` }),
      3,
      /redis:\/\/:\*\*\*@127\.0\.0\.1:1: ECONNREFUSED/,
    ],
    [
      "a malformed Redis address",
      ["worker"],
      () => at({ REDIS_URL: `http://:${secret}@host` }),
      2,
      /environment variable REDIS_URL\): expected redis:\/\//,
    ],
    [
      "an MCP file that is not there",
      ["worker", "--store", "sqlite", "--mcp", "none.json"],
      at,
      2,
      /mcpConfigPath \(from flag --mcp\): .*none\.json.*ENOENT/,
    ],
    [
      "a model script that is none",
      ["dev", "--store", "sqlite", "--data-dir", "script-data", "--model-script", "large.json"],
      at,
      2,
      /modelScript \(from flag --model-script\)/,
    ],
    [
      "no dead letter",
      ["dlq", "show", "7", "--store", "sqlite"],
      at,
      2,
      /no dead letter 7|no store/,
    ],
  ];
  it.each(cases)("%s", { timeout: 240_000 }, async (_, args, options, code, text) => {
    expectTrouble(await runCli(args, options()), code, text);
  });

  it("an MCP server by URL that is away, with its address", { timeout: 240_000 }, async () => {
    const closed = createServer().listen(0, "127.0.0.1");
    await once(closed, "listening");
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const far = { far: { url: `http://127.0.0.1:${port}/mcp?key=${secret}` } };
    await writeFile(join(folder, "away.json"), JSON.stringify({ mcpServers: far }));
    const { code, stdout, stderr } = await runCli(["tools", "list", "--mcp", "away.json"], at());
    expect({ code, stderr }).toEqual({ code: 3, stderr: "" });
    expect(stdout).toBe(
      `far  MCP server "far" at http://127.0.0.1:${port}/mcp did not answer: ECONNREFUSED\n`,
    );
  });

  it("an id of one kind in place of another's [cli.ids]", { timeout: 240_000 }, async () => {
    const mixedUp: [string[], RegExp][] = [
      [
        ["steps", "show", "run_1"],
        /steps show: run_1 is a run, where a step was expected; it is shown, with its steps, by: .*runs get run_1$/m,
      ],
      [
        ["steps", "replay", "stp_1", "run_1"],
        /steps replay: stp_1 is a step, where a run was expected; it is shown by: .*steps show stp_1$/m,
      ],
      [
        ["approvals", "approve", "run_1"],
        /run_1 is a run, where an approval was expected; it is shown by: .*runs get run_1$/m,
      ],
    ];
    for (const [args, text] of mixedUp) expectTrouble(await runCli(args, at()), 2, text);
  });

  it("a stack only where --debug asks for it", { timeout: 240_000 }, async () => {
    const { stderr } = await runCli(["runs", "get", "nope", "--debug"], at());
    expect(stderr).toMatch(/\n {4}at /);
  });
});

describe.concurrent("what is shown", () => {
  it("help on standard output, exit 0", { timeout: 240_000 }, async () => {
    const { code, stdout, stderr } = await runCli(["submit", "--help"], at());
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("Examples:");
  });

  it(
    "the configuration with secrets masked, as text and as JSON",
    { timeout: 240_000 },
    async () => {
      const options = at({ FD_API_KEY: secret, REDIS_URL: `redis://u:${secret}@h` });
      const [plain, json] = await Promise.all([
        runCli(["config"], options),
        runCli(["config", "--json"], options),
      ]);
      expect(plain.stdout + json.stdout).not.toContain(secret);
      expect(plain.stdout).toMatch(
        /redisUrl +redis:\/\/u:\*\*\*@h +environment variable REDIS_URL/,
      );
      expect(JSON.parse(json.stdout)).toMatchObject({
        settings: { apiKey: { value: "***-see", source: "environment variable FD_API_KEY" } },
      });
      expect(plain.stderr).toContain("`dev` answers from a script in place of defaultModel");
    },
  );

  it(
    "what is here and what is missing; exit 1 when a service that is set does not answer",
    { timeout: 240_000 },
    async () => {
      const fine = await runCli(["doctor", "--json"], at());
      expect(fine.code).toBe(0);
      const { findings } = JSON.parse(fine.stdout) as {
        findings: { what: string; state: string }[];
      };
      const states = Object.fromEntries(
        findings.toReversed().map(({ what, state }) => [what, state]),
      );
      expect(states).toMatchObject({ node: "ok", "control plane": "ok", "MCP servers": "none" });
      // Where nothing is wrong, nothing is called missing.
      expect(Object.values(states)).not.toContain("missing");
      const warned = await runCli(
        ["doctor"],
        at({ REDIS_URL: "redis://redis.invalid:1", FD_ARTIFACTS_PATH: "/proc/nope" }),
      );
      expect(warned.code).toBe(1);
      expect(warned.stdout).toMatch(/control plane +warning +its version is 0\.1\.0/);
      expect(warned.stdout).toMatch(/artifacts +warning +.*STATEPLANE_ARTIFACTS_URL/);
      expect(warned.stdout).toMatch(/artifacts +broken +\/proc\/nope can't be created/);
      const nowhereToWrite = await runCli(["doctor"], at({ STATEPLANE_DATA_DIR: "/proc/nope" }));
      expect(nowhereToWrite.code).toBe(1);
      expect(nowhereToWrite.stdout).toMatch(/store +broken +\/proc\/nope can't be written to/);
      const broken = await runCli(["doctor"], at({ REDIS_URL: "redis://127.0.0.1:1" }));
      expect(broken.code).toBe(1);
      expect(broken.stdout).toMatch(/store +broken +.*ECONNREFUSED/);
    },
  );
});

describe("a configuration", () => {
  it("that never comes keeps no signal from ending the program [config.never]", async () => {
    const pipe = join(folder, "never.yaml");
    await promisify(execFile)("mkfifo", [pipe]);
    const waiting = startCli(["config", "--config", pipe], { cwd: folder });
    // Done once somebody has it open to read.
    const writer = await open(pipe, "w");
    waiting.kill("SIGINT");
    await waiting.ended;
    await writer.close();
    expect(waiting.child.signalCode).toBe("SIGINT");
    const file = join(folder, "slow.mjs");
    await writeFile(file, 'console.log("begun"); await new Promise((r) => setTimeout(r, 1e9));');
    const slow = startCli(["config", "--config", file], { cwd: folder });
    await slow.says("begun");
    slow.kill("SIGTERM");
    await slow.ended;
    expect(slow.child.signalCode).toBe("SIGTERM");
  });

  it("that awaits what never comes is a mistake of its own, and what it prints is no part of the answer [config.odd]", async () => {
    const file = join(folder, "odd.mjs");
    const config = (...args: string[]) => runCli([...args, "--config", file], { cwd: folder });
    await writeFile(file, "await new Promise(() => {}); export default {};");
    const { code, stderr } = await config("config");
    expect([code, stderr]).toEqual([2, expect.stringMatching(/odd\.mjs.*awaits something/u)]);
    await writeFile(file, 'console.log("plain words"); console.table([1]); export default {};');
    const told = await config("config", "--json");
    expect(told.stderr).toContain("plain words");
    expect(JSON.parse(told.stdout)).toBeTypeOf("object");
    const script = await config("completion", "bash");
    expect(script.stdout).not.toContain("plain words");
  });
});

describe("an output that can't be written", () => {
  it.each([["--version"], ["--help"], ["config", "--json"], ["completion", "bash"], ["prices"]])(
    "is told in one line, and exits with 1: %s [net.closed-output]",
    async (...args) => {
      const script = 'exec "$0" "$@" >/dev/full';
      const child = execFile("bash", ["-c", script, process.execPath, bin, ...args], {
        cwd: folder,
      });
      let said = "";
      child.stderr?.on("data", (chunk) => (said += chunk));
      const [code] = await once(child, "close");
      expect(said).toBe("stateplane: standard output can't be written to (ENOSPC)\n");
      expect(code).toBe(1);
    },
  );
});
