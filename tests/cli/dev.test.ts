import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, realpath, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fileSystemServer } from "../support/file-system-server.ts";
import { keptDevNote, shownDevNote } from "../support/dev-note.ts";
import {
  processGroup,
  processesNaming,
  runCli,
  type RunningCli,
  startCli,
} from "../support/run-cli.ts";

const timeout = 240_000;

let folder: string;
let running: RunningCli[] = [];
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "stateplane-dev-")));
  await mkdir(join(folder, "files"));
  const { command, args } = fileSystemServer(join(folder, "files"));
  await writeFile(
    join(folder, "mcp.json"),
    JSON.stringify({
      mcpServers: {
        files: { command, args },
      },
    }),
  );
  await writeFile(
    join(folder, "script.yaml"),
    "- reply: {content: Hello there, usage: {inputTokens: 7, outputTokens: 2}}\n",
  );
  await writeFile(
    join(folder, "stateplane.config.yaml"),
    [
      "mcpConfigPath: mcp.json",
      "modelScript: script.yaml",
      "allowlist: {allowed: [write_file, read_text_file]}",
      "agents:",
      "  helper:",
      "    model: scripted/one",
      "    allowedTools: [read_text_file]",
      "    approvalRequiredTools: [write_file]",
      "",
    ].join("\n"),
  );
});
afterEach(async () => {
  for (const { child, pid, ended } of running) {
    // The number of one that has ended, as it should have, may be somebody else's by now.
    if (child.exitCode === null && child.signalCode === null) process.kill(-pid, "SIGKILL");
    await ended;
  }
  running = [];
  await rm(folder, { recursive: true, force: true });
});

async function startDev(...args: string[]): Promise<RunningCli> {
  return startDevIn({}, ...args);
}
async function startDevIn(env: Record<string, string>, ...args: string[]): Promise<RunningCli> {
  const dev = startCli(["dev", ...args], { cwd: folder, env });
  running.push(dev);
  await dev.says("Ctrl-C stops.");
  return dev;
}
const run = (...args: string[]) => runCli(args, { cwd: folder });
/** As a terminal sends it: to the program and everything it started in its group. */
const controlC = ({ pid }: RunningCli) => process.kill(-pid, "SIGINT");

describe("stateplane dev", () => {
  it(
    "is found by the other commands of its folder by what is in no file of the project, and runs a task to its end [dev.key]",
    { timeout },
    async () => {
      const dev = await startDev("--store", "sqlite");
      const { stdout } = dev.said();
      expect(stdout).toMatch(/control plane +http:\/\/127\.0\.0\.1:\d+/);
      expect(stdout).toMatch(/store +SQLite in .*steps\.sqlite/);
      expect(stdout).toMatch(/MCP servers +files: \d+ tools: 2 allowed, 0 asked, \d+ denied/);
      expect(stdout).toMatch(/agents +helper/);

      const note = join(folder, ".stateplane", "dev.json");
      expect((await stat(note)).mode & 0o777).toBe(0o600);
      const { keyIn } = shownDevNote(folder);
      expect((await stat(String(keyIn))).mode & 0o777).toBe(0o600);
      expect((await stat(dirname(String(keyIn)))).mode & 0o777).toBe(0o700);
      const apiKey = String(keptDevNote(folder)["apiKey"]);
      expect(stdout).not.toContain(apiKey);
      // Whoever reads and writes in the project, an agent's file tools say, finds no key, and moves nobody elsewhere.
      const inProject = await readdir(join(folder, ".stateplane"), { recursive: true });
      for (const name of inProject) {
        const text = await readFile(join(folder, ".stateplane", name), "utf8").catch(() => "");
        expect([name, text.includes(apiKey)]).toEqual([name, false]);
      }
      const shown = await readFile(note, "utf8");
      await writeFile(note, JSON.stringify({ ...keptDevNote(folder), url: "http://127.0.0.1:9" }));
      expect((await run("agents", "list")).code).toBe(0);
      await writeFile(note, shown);

      const submitted = await run("submit", "helper", "--task", "greet me", "--watch");
      expect(submitted).toMatchObject({ code: 0, stderr: "" });
      expect(submitted.stdout).toMatch(/step +stp_\w+ +completed +llm scripted\/one/);
      expect(submitted.stdout).toMatch(/run +run_\w+ +completed +Hello there/);
      await dev.says(/llm +executing/);

      const agents = await run("agents", "list", "--json");
      expect(JSON.parse(agents.stdout)).toMatchObject([{ slug: "helper" }]);
      const second = await run("dev");
      expect(second.code).toBe(2);
      expect(second.stderr).toContain("already runs");

      controlC(dev);
      expect(await dev.ended).toMatchObject({ code: 0 });
      expect(existsSync(note)).toBe(false);
      expect(await processGroup(dev.pid)).toEqual([]);
      const after = await run("runs", "list");
      expect(after).toMatchObject({ code: 2, stdout: "" });
      expect(after.stderr).toContain("no `dev` runs");
    },
  );

  it(
    "asks a person before a tool that needs one, and goes on with the answer",
    { timeout },
    async () => {
      const dev = await startDev("--store", "sqlite");
      const path = join(folder, "files", "made.txt");
      const content = `made by an agent ${"x".repeat(500)} to its end`;
      const toolInput = { path, content };
      const step = { type: "tool", input: { tool_name: "write_file", tool_input: toolInput } };
      await writeFile(join(folder, "steps.json"), JSON.stringify([step]));
      const submit = () => run("submit", "helper", "--steps", "steps.json", "--json");

      const first = JSON.parse((await submit()).stdout) as { id: string };
      const watch = startCli(["runs", "watch", first.id, "--json"], { cwd: folder });
      await watch.says('"status":"waiting_approval"');
      const asked = await run("approvals", "list");
      expect(asked.stdout).toContain(content);
      expect(asked.stdout).toMatch(/^server +\S+$/m);
      const [approval] = JSON.parse((await run("approvals", "list", "--json")).stdout) as {
        id: string;
        run_id: string;
        digest: string;
      }[];
      expect(approval?.run_id).toBe(first.id);
      expect(existsSync(path)).toBe(false);
      const id = approval?.id ?? "";
      expect(asked.stdout).toContain(approval?.digest);
      const other = await run("approvals", "approve", id, "--digest", "0".repeat(64));
      expect(other).toMatchObject({ code: 1, stdout: "" });
      expect(other.stderr).toContain(approval?.digest);
      const digest = approval?.digest ?? "";
      const said = await run("approvals", "approve", id, "--digest", digest, "--note", "go on");
      expect(said).toMatchObject({ code: 0 });
      // All of it is shown before the answer, to its last key.
      expect(said.stdout.indexOf(content)).toBeLessThan(said.stdout.indexOf("is approved"));
      const watched = await watch.ended;
      expect(watched.code).toBe(0);
      for (const line of watched.stdout.trimEnd().split("\n")) {
        expect(JSON.parse(line)).toHaveProperty("kind");
      }
      expect(await readFile(path, "utf8")).toBe(content);
      const again = await run("approvals", "approve", id);
      expect(again.code).toBe(2);

      await rm(path);
      const second = JSON.parse((await submit()).stdout) as { id: string };
      const rejected = startCli(["runs", "watch", second.id], { cwd: folder });
      await rejected.says("waiting_approval");
      const list = JSON.parse((await run("approvals", "list", "--json")).stdout) as {
        id: string;
      }[];
      await run("approvals", "reject", list[0]?.id ?? "");
      expect((await rejected.ended).code).toBe(1);
      expect(existsSync(path)).toBe(false);

      const { stdout } = await run("runs", "list");
      expect(stdout).toContain(first.id);
      expect((await run("runs", "list", "--status", "failed", "--json")).stdout).toContain(
        second.id,
      );

      // The MCP server runs by now, in a group of its own: it must end with us.
      expect(await processesNaming("server-filesystem", folder)).toHaveLength(1);
      controlC(dev);
      expect(await dev.ended).toMatchObject({ code: 0 });
      // One that had to be killed is gone a moment after its program.
      await expect.poll(() => processesNaming("server-filesystem", folder)).toEqual([]);
    },
  );

  it("keeps its state in a Redis of its own, and ends that too", { timeout }, async () => {
    const dev = await startDev();
    expect(dev.said().stdout).toMatch(/store +a private Redis in/);
    const submitted = await run("submit", "helper", "--task", "greet me", "--watch");
    expect(submitted.code).toBe(0);
    // A look at the queue joins the server that runs, and leaves it running.
    expect(await run("dlq", "list")).toMatchObject({
      code: 0,
      stderr: "there are no dead letters\n",
    });
    expect(await processesNaming("redis-server", folder)).toHaveLength(1);
    controlC(dev);
    expect(await dev.ended).toMatchObject({ code: 0 });
    expect(await processesNaming("redis-server", folder)).toEqual([]);

    const again = await startDev();
    expect((await run("runs", "list")).stdout).toMatch(/run_\w+ +completed/);
    again.kill("SIGTERM");
    expect(await again.ended).toMatchObject({ code: 0 });
  });

  it(
    "leaves a note that is recognised as stale when it could not take it away",
    { timeout },
    async () => {
      const dev = await startDev("--store", "sqlite");
      process.kill(-dev.pid, "SIGKILL");
      await dev.ended;
      expect(existsSync(join(folder, ".stateplane", "dev.json"))).toBe(true);
      const after = await run("runs", "list");
      expect(after.code).toBe(2);
      expect(after.stderr).toContain("no `dev` runs");
      const next = await startDev("--store", "sqlite");
      expect((await run("runs", "list")).code).toBe(0);
      next.kill("SIGINT");
      expect((await next.ended).code).toBe(0);
    },
  );

  it(
    "shows a failed step with its reason, and what the store keeps of it",
    { timeout },
    async () => {
      const dev = await startDev("--store", "sqlite");
      const denied = { tool_name: "no_such_tool", tool_input: {} };
      await writeFile(
        join(folder, "steps.json"),
        JSON.stringify([{ type: "tool", input: denied }]),
      );
      const submitted = await run("submit", "helper", "--steps", "steps.json", "--watch", "--json");
      expect(submitted.code).toBe(1);
      await dev.says(/tool +failed {2}\w+: .*no_such_tool/);
      expect(dev.said().stdout).not.toContain("(settled)");
      const [, stepId = "", runId = ""] =
        /"id":"(stp_\w+)","run_id":"(run_\w+)"/.exec(submitted.stdout) ?? [];
      const shown = await run("steps", "show", runId, stepId);
      expect(shown).toMatchObject({ code: 0, stderr: "" });
      expect(shown.stdout).toMatch(/phase +reported/);
      expect(shown.stdout).toMatch(/fence +1/);
      expect((await run("steps", "show", stepId)).stdout).toBe(shown.stdout);
      const lost = await run("steps", "show", "stp_1");
      expect(lost).toMatchObject({ code: 2, stdout: "" });
      expect(lost.stderr).toMatch(/no step stp_1 by that id alone; .* steps show RUN stp_1\n$/);
      const json = await run("steps", "show", runId, stepId, "--json");
      expect(JSON.parse(json.stdout)).toMatchObject({ phase: "reported", fence: 1 });

      const path = join(folder, "files", "never.txt");
      const asks = { tool_name: "write_file", tool_input: { path, content: "x" } };
      await writeFile(join(folder, "steps.json"), JSON.stringify([{ type: "tool", input: asks }]));
      const asking = await run("submit", "helper", "--steps", "steps.json", "--json");
      const { id } = JSON.parse(asking.stdout) as { id: string };
      await dev.says("(parked)");
      const steps = await run("runs", "get", id, "--json");
      const [, parked = ""] = /"id":"(stp_\w+)"/.exec(steps.stdout) ?? [];
      const waiting = await run("steps", "show", id, parked);
      expect(waiting.stdout).toMatch(/phase +parked/);
      expect(waiting.stdout).toMatch(/waits for +a person's answer: .*approvals list/);
      expect(waiting.stdout).toMatch(/states +pending ▶ policy-check ▶ awaiting-approval/);
      expect(waiting.stdout).toMatch(/wakes +\d{4}-\d\d-\d\dT/);

      const unknown = await run("steps", "show", "run_1", "stp_1");
      expect(unknown).toMatchObject({ code: 2, stdout: "" });
      expect(unknown.stderr).toContain("there is no record of step stp_1 of run run_1");
      const narrow = { cwd: folder, env: { COLUMNS: "60" } };
      const { stdout } = await runCli(["runs", "list"], narrow);
      expect(stdout).toContain(runId);
      expect(Math.max(...stdout.split("\n").map((line) => line.length))).toBeLessThanOrEqual(60);
      dev.kill("SIGTERM");
      expect((await dev.ended).code).toBe(0);
    },
  );

  it("hands a step that will not end back at the second Ctrl-C", { timeout }, async () => {
    // Neither the step nor the time that steps have to finish ends within this test.
    const dev = await startDevIn({ WORKER_DRAIN_MS: "600000" }, "--store", "sqlite");
    const nap = `sleep 7${process.pid}`;
    const step = {
      type: "sandbox",
      input: { code: nap, language: "bash", timeout_seconds: 600 },
    };
    await writeFile(join(folder, "steps.json"), JSON.stringify([step]));
    await run("submit", "helper", "--steps", "steps.json");
    await dev.says(/sandbox +executing/);
    controlC(dev);
    await dev.says("stopping:");
    controlC(dev);
    expect(await dev.ended).toMatchObject({ code: 0 });
    expect(dev.said().stdout).toContain("(released)");
    expect(await processesNaming(nap, "")).toEqual([]);
  });
});
