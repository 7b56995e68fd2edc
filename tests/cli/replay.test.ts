import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type RunningCli, runCli, startCli } from "../support/run-cli.ts";

const config = `
const tool = (name, readOnly, run) =>
  ({ name, description: name, input: { type: "object" }, annotations: { readOnly }, run });
export default {
  tools: [tool("look", true, ({ path }) => "content of " + path), tool("send", false, () => "sent")],
  allowlist: { allowed: ["look", "send"] },
  defaultModel: "scripted/one",
  modelScript: "script.yaml",
  store: "sqlite",
};
`;
const script = `
- reply: { toolCalls: [{ name: look, arguments: { path: a } }] }
- reply: { toolCalls: [{ name: send, arguments: { to: bob } }] }
- reply: { content: "Told bob." }
`;
const other = `
- reply: { toolCalls: [{ name: look, arguments: { path: a } }, { name: send, arguments: { to: eve } }] }
- reply: { content: "Told eve." }
`;

let folder = "";
let dev: RunningCli;
let runId = "";
let stepId = "";
const cli = (...args: string[]) => runCli(args, { cwd: folder });
const lines = (text: string) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane replay-"));
  await writeFile(join(folder, "stateplane.config.mjs"), config);
  await writeFile(join(folder, "script.yaml"), script);
  await writeFile(join(folder, "other.yaml"), other);
  await writeFile(join(folder, "policy.yaml"), "allowed: [look]\ndenied: [send]\n");
  dev = startCli(["dev"], { cwd: folder });
  await dev.says("Ctrl-C stops");
  const task = "Tell bob; my key is sk-ant-api03-0123456789abcdef0123456789abcdef";
  const submitted = await cli("submit", "assistant", "--task", task, "--json");
  runId = lines(submitted.stdout)[0].id;
  await vi.waitFor(
    async () => {
      const { run, steps } = lines((await cli("runs", "get", runId, "--json")).stdout)[0];
      expect(run.status).toBe("completed");
      stepId = steps[0].id;
    },
    { timeout: 20_000, interval: 100 },
  );
});
afterAll(async () => {
  dev.kill("SIGTERM");
  await dev.ended;
  await rm(folder, { recursive: true, force: true });
});

describe("steps replay", () => {
  it("walks an ended step of dev once more, as it happened [replay.same]", async () => {
    const { code, stdout } = await cli("steps", "replay", stepId);
    expect(stdout).toContain('1 model#0.1      served   calls look {"path":"a"}');
    expect(stdout).toContain(
      "the step completed, as recorded; effects: 5 served, 0 made, 0 refused",
    );
    expect(code).toBe(0);
  });

  it("goes another way by another model's script or policy, and says what it refused [replay.fork]", async () => {
    const forked = await cli(
      "steps",
      "replay",
      runId,
      stepId,
      "--fork-at",
      "1",
      "--model-script",
      "other.yaml",
      "--json",
    );
    const all = lines(forked.stdout);
    expect(all.at(-1)).toMatchObject({ type: "end", forkedAt: 1, made: 2, served: 1, refused: 1 });
    expect(forked.code).toBe(1);
    const denied = await cli("steps", "replay", runId, stepId, "--policy", "policy.yaml");
    expect(denied.stdout).toContain("not made This call is not allowed");
    expect(denied.code).toBe(0);
    const keyless = await cli("steps", "replay", runId, stepId, "--model", "nobody/one");
    expect(keyless).toMatchObject({ code: 1, stdout: expect.stringContaining("the step failed") });
  });

  it("says what can't be done, and what to do [replay.ends]", async () => {
    const nothing = await cli("steps", "replay", runId, "stp_nothing");
    expect(nothing).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("WORKER_KEEP_JOURNALS=on"),
    });
    const beyond = await cli("steps", "replay", runId, stepId, "--fork-at", "99");
    expect(beyond).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--fork-at 99: .*recorded effects/u),
    });
    const live = await cli("steps", "replay", runId, stepId, "--model", "scripted/x", "--live");
    expect(live).toMatchObject({ code: 2, stderr: expect.stringContaining("--yes") });
  });
});

describe("a run as a task", () => {
  it("is made with its recording, without its secrets, and replayed from there [replay.task]", async () => {
    const made = await cli("eval", "from-run", runId, "--out", "set/tasks.jsonl", "--expect");
    expect(made.code).toBe(0);
    const [task] = lines(await readFile(join(folder, "set/tasks.jsonl"), "utf8"));
    expect(task).toMatchObject({
      id: runId,
      expected: {
        tools: ["look", "send"],
        tool_calls: [{ arguments: { path: { value: "a" } } }, { tool: "send" }],
      },
      config: { recording: join("recordings", `${runId}.json`) },
    });
    const recording = await readFile(join(folder, "set/recordings", `${runId}.json`), "utf8");
    expect(recording + JSON.stringify(task)).not.toContain("0123456789abcdef");
    expect((await cli("eval", "from-run", runId, "--out", "set/tasks.jsonl")).stderr).toContain(
      "already has",
    );
    const again = await cli("eval", "replay", "set/tasks.jsonl", "--json");
    expect(lines(again.stdout)[0]).toMatchObject({
      task: runId,
      served: 5,
      made: 0,
      result: { status: "completed" },
    });
    const simulated = await cli(
      "eval",
      "replay",
      `set/recordings/${runId}.json`,
      "--mode",
      "simulation",
      "--model-script",
      "other.yaml",
      "--json",
    );
    expect(lines(simulated.stdout)[0]).toMatchObject({ served: 1, made: 2, refused: 1 });
    expect(simulated.code).toBe(1);
  });

  it("is refused by the place of what is wrong [replay.task]", async () => {
    await writeFile(join(folder, "bad.json"), '{"format":"stateplane-run-recording/1"}');
    const bad = await cli("eval", "replay", "bad.json");
    expect(bad).toMatchObject({ code: 2, stderr: expect.stringContaining("run must be") });
    const full = await cli("eval", "replay", "set/tasks.jsonl", "--mode", "full");
    expect(full).toMatchObject({ code: 2, stderr: expect.stringContaining("--live") });
  });
});
