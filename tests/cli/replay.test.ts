import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type RunningCli, runCli, startCli } from "../support/run-cli.ts";

const config = `
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
const tool = (name, readOnly, run, properties = {}) =>
  ({ name, description: name, input: { type: "object", properties }, annotations: { readOnly }, run });
const text = { to: { type: "string" } };
export default {
  tools: [
    tool("look", true, ({ path }) => "content of " + path),
    tool("send", false, () => "sent"),
    tool("post", false, ({ to }) => "posted to " + to, text),
    tool("hold", true, async () => {
      while (existsSync("held")) await sleep(20);
      return "held";
    }),
  ],
  allowlist: { allowed: ["look", "send", "hold"], approvalRequired: ["post"] },
  defaultModel: "scripted/one",
  modelScript: "script.yaml",
  store: "sqlite",
  leaseMs: 5000,
};
`;
const script = `
- reply: { toolCalls: [{ name: look, arguments: { path: a } }] }
  expect: { contains: Tell bob }
- reply: { toolCalls: [{ name: send, arguments: { to: bob } }] }
  expect: { contains: Tell bob }
- reply: { content: "Told bob." }
  expect: { contains: Tell bob }
- reply: { toolCalls: [{ name: post, arguments: { to: eve } }, { name: post, arguments: { to: ann } }, { name: look, arguments: { path: b } }] }
  expect: { contains: Post twice }
- reply: { content: "Posted twice." }
  expect: { contains: Post twice }
- reply: { toolCalls: [{ name: post, arguments: { to: kim } }] }
  expect: { contains: Post badly }
- reply: { content: "Not posted." }
  expect: { contains: Post badly }
- reply: { toolCalls: [{ name: look, arguments: { path: c } }, { name: hold, arguments: {} }] }
  expect: { contains: Hold on }
- reply: { content: "Held." }
  expect: { contains: Hold on }
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

const submit = async (...args: string[]): Promise<string> =>
  lines((await cli("submit", "assistant", "--json", ...args)).stdout)[0].id;
/** As soon as all the runs are like that. */
const until = (status: string, ...ids: string[]) =>
  vi.waitFor(
    async () => {
      const [listed] = lines((await cli("runs", "list", "--json")).stdout);
      const all: { id: string; status: string }[] = listed.runs;
      const of = (id: string) => all.find((run) => run.id === id)?.status;
      expect(ids.map(of)).toEqual(ids.map(() => status));
    },
    { timeout: 100_000, interval: 100 },
  );
interface Asked {
  id: string;
  action_details: { input: { to: string } };
}
const asked = async (): Promise<Asked[]> =>
  lines((await cli("approvals", "list", "--json")).stdout).flat();
const yes = async (id: string, ...edit: string[]) =>
  expect(await cli("approvals", "approve", id, "--yes", ...edit)).toMatchObject({ code: 0 });
const runs: Record<"twice" | "badly" | "tool" | "waits" | "held", string> = {
  twice: "",
  badly: "",
  tool: "",
  waits: "",
  held: "",
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane replay-"));
  await writeFile(join(folder, "stateplane.config.mjs"), config);
  await writeFile(join(folder, "script.yaml"), script);
  await writeFile(join(folder, "other.yaml"), other);
  await writeFile(join(folder, "policy.yaml"), "allowed: [look]\ndenied: [send]\n");
  const post = (to: string) => [{ type: "tool", input: { tool_name: "post", tool_input: { to } } }];
  await writeFile(join(folder, "tool.json"), JSON.stringify(post("lee")));
  await writeFile(join(folder, "waits.json"), JSON.stringify(post("max")));
  await writeFile(join(folder, "held"), "");
  dev = startCli(["dev"], { cwd: folder });
  await dev.says("Ctrl-C stops");
  const task = "Tell bob; my key is sk-ant-api03-0123456789abcdef0123456789abcdef";
  [runId, runs.twice, runs.badly, runs.held, runs.tool, runs.waits] = await Promise.all([
    submit("--task", task),
    submit("--task", "Post twice"),
    submit("--task", "Post badly"),
    submit("--task", "Hold on"),
    submit("--task", "Post", "--steps", "tool.json"),
    submit("--task", "Post", "--steps", "waits.json"),
  ]);
  await until("completed", runId);
  await until("waiting_approval", runs.twice, runs.badly, runs.tool, runs.waits);
  stepId = lines((await cli("runs", "get", runId, "--json")).stdout)[0].steps[0].id;
}, 240_000);
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
    expect(keyless.stdout).toMatch(
      /model#0\.1 +failed .*the step failed.*effects: 0 served, 0 made/su,
    );
    expect(keyless.code).toBe(1);
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

describe("what people and other workers had to do with a step", () => {
  it("is replayed: calls whose arguments they changed, a step that waits, one taken over [replay.same]", async () => {
    dev.kill("SIGKILL");
    await dev.ended;
    await rm(join(folder, "held"));
    dev = startCli(["dev"], { cwd: folder });
    await dev.says("Ctrl-C stops");
    const edits = { eve: '{"to":"dan"}', kim: '{"to":"kit"}', lee: '{"to":"jo"}' };
    const questions = (await asked()).filter(({ action_details: of }) => of.input.to !== "max");
    // No edit that the tool's schema refuses comes to be recorded.
    const kim = questions.find(({ action_details: of }) => of.input.to === "kim")?.id ?? "";
    expect(await cli("approvals", "approve", kim, "--yes", "--edit", '{"to":7}')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("schema"),
    });
    await Promise.all(
      questions.map(({ id, action_details: of }) => {
        const edit = edits[of.input.to as keyof typeof edits];
        return yes(id, ...(edit === undefined ? [] : ["--edit", edit]));
      }),
    );
    const over = [runs.twice, runs.badly, runs.tool, runs.held];
    await until("completed", ...over);
    const tasks = over.map(async (run, at) => {
      const made = await cli("eval", "from-run", run, "--out", `set/${at}.jsonl`);
      expect(made, made.stderr).toMatchObject({ code: 0 });
      return readFile(join(folder, `set/${at}.jsonl`), "utf8");
    });
    await writeFile(join(folder, "set/all.jsonl"), (await Promise.all(tasks)).join(""));
    const again = await cli("eval", "replay", "set/all.jsonl", "--json");
    const ends = lines(again.stdout);
    expect(ends.map(({ differences }) => differences)).toEqual([[], [], [], []]);
    expect(ends.map(({ served }) => served)).toEqual([5, 3, 1, 4]);
    expect(again.code).toBe(0);
    const [waiting] = lines((await cli("runs", "get", runs.waits, "--json")).stdout);
    const waits = await cli("steps", "replay", runs.waits, waiting.steps[0].id);
    expect(waits.stdout).toContain("the replay stops here: it waits for a person");
    expect(waits.code).toBe(0);
  }, 240_000);

  it("is named where it is missing, and a fork that no step comes to is refused [replay.ends]", async () => {
    const far = await cli("eval", "replay", "set/all.jsonl", "--fork-at", "99");
    expect(far).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/--fork-at 99: .* has 5 recorded effects/u),
    });
    const file = join(folder, "set/recordings", `${runs.twice}.json`);
    const whole = JSON.parse(await readFile(file, "utf8"));
    const [step] = whole.steps;
    step.journal = step.journal.filter(
      ({ effect }: { effect?: string }) => effect !== "tool#0.1.2",
    );
    await writeFile(join(folder, "torn.json"), JSON.stringify(whole));
    const torn = await cli("eval", "replay", "torn.json");
    expect(torn.stdout).toMatch(/the recording has nothing of the effect tool#0\.1\.2/u);
    expect(torn.stdout).toContain("this walk did not come so far");
    expect(torn.code).toBe(1);
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
