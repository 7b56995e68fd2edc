import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { Ledger } from "../chaos/ledger.ts";
import {
  type FerrumDeckGateway,
  type GatewayAnswer,
  startFerrumDeckGateway,
} from "../support/ferrumdeck-gateway.ts";
import { startTestRedis, type TestRedis } from "../support/redis.ts";
import { runCli, type RunningCli, startCli } from "../support/run-cli.ts";

/*
 * What docs/moving-from-the-python-worker.md says, statement by statement: the real program with the Python worker's
 * environment and MCP file, on a real Redis, beside a stand-in of FerrumDeck's gateway. Each step has a run of its own.
 */

const timeout = 240_000;
const within = { timeout: 60_000, interval: 50 };
const stream = "fd:queue:stream:steps";
const group = "steps-workers";
const tool = (name: string, order: string) => ({
  stepType: "tool",
  input: { tool_name: name, tool_input: { order }, allowed_tools: null },
});
const sandbox = (code: string) => ({
  stepType: "sandbox",
  input: { language: "bash", code, env: null, files: null, timeout_seconds: 100 },
});

let folder: string;
let redis: TestRedis;
let client: Redis;
let gateway: FerrumDeckGateway;
let ledger: Ledger;
let worker: RunningCli | null = null;
const workers: RunningCli[] = [];
/** By run: what stands in the place of the gateway's next answers to a result, or to each look at policy. */
const misanswers = new Map<string, { result?: GatewayAnswer[]; policy?: GatewayAnswer }>();
let last = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "stateplane moving-"));
  redis = await startTestRedis();
  client = new Redis(redis.url);
  gateway = await startFerrumDeckGateway({
    verdicts: { post: "allow", put: "allow" },
    publish: ({ data = "" }) => void client.xadd(stream, "*", "data", data),
    failing: ({ method, path }) => {
      const [, , , runId = "", part = ""] = path.split("/");
      const given = misanswers.get(runId);
      if (method !== "POST" || given === undefined) return null;
      return part === "check-tool" ? given.policy : part === "steps" ? given.result?.shift() : null;
    },
  });
  ledger = new Ledger(join(folder, "ledger.jsonl"));
  const server = (name: string, ms: number) => ({
    name,
    command: process.execPath,
    args: [join(import.meta.dirname, "../support/ledger-mcp-server.ts")],
    env: { LEDGER: ledger.path, LEDGER_MS: String(ms) },
    priority: 3,
  });
  const mcp = {
    servers: [server("quick", 0), server("slow", 600_000)],
    allowlist: { allowed_tools: ["quick/post", "slow/post"], approval_required: ["quick/put"] },
  };
  await writeFile(join(folder, "mcp.json"), JSON.stringify(mcp));
  const answer = [{ reply: { content: "A short plan." } }];
  await writeFile(join(folder, "script.json"), JSON.stringify(answer));
}, timeout);
afterAll(async () => {
  for (const one of workers) one.kill("SIGKILL");
  await Promise.all(workers.map(({ ended }) => ended));
  client.disconnect();
  await gateway.close();
  await redis.stop();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => misanswers.clear());

const environment = () => ({
  cwd: folder,
  env: {
    REDIS_URL: redis.url,
    CONTROL_PLANE_URL: gateway.url,
    FD_API_KEY: gateway.apiKey,
    MCP_CONFIG_PATH: "mcp.json",
    STATEPLANE_MODEL_SCRIPT: "script.json",
    // A busy machine may keep a worker's loop still for a moment, and one that stands still for a lease ends itself.
    WORKER_LEASE_MS: "6000",
    WORKER_DRAIN_MS: "300",
  },
});

/** The worker that runs, or one that is started now. */
async function working(): Promise<RunningCli> {
  if (worker !== null) return worker;
  worker = startCli(["worker", "--log-level", "debug"], environment());
  workers.push(worker);
  await worker.says("the worker takes jobs");
  return worker;
}
async function end(signal: NodeJS.Signals): Promise<void> {
  worker?.kill(signal);
  await worker?.ended;
  worker = null;
}

function ids(): { runId: string; stepId: string } {
  last += 1;
  const suffix = String(last).padStart(26, "0");
  return { runId: `run_${suffix}`, stepId: `stp_${suffix}` };
}
type Work = ReturnType<typeof tool> | { stepType: string; input: Record<string, never> };

/** Has the gateway enqueue a step of a new run. */
function enqueue(work: object, named = ids()): { runId: string; stepId: string } {
  gateway.enqueue({ ...named, ...(work as Work) });
  return named;
}
const results = (runId: string) =>
  gateway.results().flatMap((one) => (one.runId === runId ? [one.body] : []));
const status = (runId: string) => gateway.steps(runId)[0]?.["status"];
const touches = (order: string) =>
  ledger.lines().filter((line) => line.kind === "touch" && line.order === order).length;

it(
  "the stream, its group, the shape of a job and the inputs stay as they are [job.round-trip] [input.ferrumdeck]",
  { timeout },
  async () => {
    await working();
    const documents = [{ content: "Lunch is at noon." }, { content: null }];
    const works = [
      tool("quick/post", "stays"),
      sandbox("echo done"),
      { stepType: "retrieval", input: { query: "lunch", documents, top_k: null, backend: null } },
      {
        stepType: "llm",
        input: { task: "plan", messages: null, model: "scripted/default", temperature: null },
      },
    ];
    const made = works.map((work) => enqueue(work));
    await vi.waitFor(() => {
      for (const { runId } of made) expect(results(runId)).toHaveLength(1);
    }, within);
    for (const { runId } of made) expect(results(runId)).toMatchObject([{ status: "completed" }]);
    const groups = (await client.xinfo("GROUPS", stream)) as string[][];
    expect(groups.map(([, name]) => name)).toEqual([group]);
  },
);

it("an approval step comes back as `human`, and is known [job.human]", { timeout }, async () => {
  await working();
  const { runId, stepId } = enqueue({ stepType: "approval", input: { message: "Ship it?" } });
  await vi.waitFor(() => expect(status(runId)).toBe("waitingapproval"), within);
  gateway.approve(runId, stepId);
  await vi.waitFor(() => expect(status(runId)).toBe("completed"), within);
});

it("doctor names what means nothing in the MCP file [doctor.mcp-file]", { timeout }, async () => {
  const { stdout } = await runCli(["doctor"], { ...environment() });
  expect(stdout).toMatch(/"priority" that means\s+nothing here/u);
});

it("a tool on no list is denied [policy.deny-default]", { timeout }, async () => {
  await working();
  const { runId } = enqueue(tool("slow/put", "on no list"));
  await vi.waitFor(() => expect(status(runId)).toBe("failed"), within);
  expect(results(runId)).toMatchObject([{ error: { kind: "policy_denied" } }]);
  expect(touches("on no list")).toBe(0);
});

it("nothing runs while policy answers out of shape [policy.closed]", { timeout }, async () => {
  await working();
  const named = ids();
  const given = { policy: { status: 200, body: { allowed: "yes" } } };
  misanswers.set(named.runId, given);
  enqueue(tool("quick/post", "out of shape"), named);
  const isLook = ({ path }: { path: string }) => path === `/v1/runs/${named.runId}/check-tool`;
  await vi.waitFor(() => {
    expect(gateway.requests.filter(isLook).length).toBeGreaterThan(2);
  }, within);
  expect(touches("out of shape")).toBe(0);
  misanswers.clear();
  await vi.waitFor(() => expect(status(named.runId)).toBe("completed"), within);
  expect(touches("out of shape")).toBe(1);
});

it(
  "a result is sent until it is acknowledged, its work done once [once.outbox]",
  { timeout },
  async () => {
    await working();
    const named = ids();
    const away = { status: 503, body: "" };
    misanswers.set(named.runId, { result: [away, away] });
    enqueue(tool("quick/post", "until"), named);
    await vi.waitFor(() => expect(status(named.runId)).toBe("completed"), within);
    expect(touches("until")).toBe(1);
  },
);

it("a refused report is followed by a short failed one [report.refused]", { timeout }, async () => {
  await working();
  const named = ids();
  const refused = { error: { code: "BAD_REQUEST", message: "Invalid JSON" } };
  misanswers.set(named.runId, { result: [{ status: 400, body: refused }] });
  enqueue(sandbox("echo refused"), named);
  await vi.waitFor(() => expect(status(named.runId)).toBe("failed"), within);
  expect(results(named.runId)).toMatchObject([{ status: "failed", error: { kind: "refused" } }]);
});

it("a job that can't be read is a dead letter [dead-letter.unreadable]", { timeout }, async () => {
  await working();
  await client.xadd(stream, "*", "data", "{not json");
  await vi.waitFor(async () => {
    const { stdout } = await runCli(["dlq", "list", "--json"], environment());
    expect(stdout).toContain("not JSON");
  }, within);
});

it("a run that has ended stays as it ended [ended.quiet]", { timeout }, async () => {
  await working();
  const named = ids();
  gateway.cancelAndEnqueue({ ...named, ...tool("quick/post", "ended") });
  await vi.waitFor(async () => expect(await client.xlen(stream)).toBe(0), within);
  expect(results(named.runId)).toEqual([]);
  expect(gateway.run(named.runId)?.["status"]).toBe("cancelled");
  expect(touches("ended")).toBe(0);
});

it(
  "a job that a Python worker has taken is left to it for 15 minutes [lease.foreign]",
  { timeout },
  async () => {
    await end("SIGTERM");
    const taken = enqueue(tool("quick/post", "taken"));
    const read = await client.xreadgroup(
      "GROUP",
      group,
      "python-1",
      "COUNT",
      1,
      "STREAMS",
      stream,
      ">",
    );
    const [[, entries]] = read as unknown as [[string, [string, string[]][]]];
    const entry = entries[0]?.[0] ?? "";
    const idle = (minutes: number) =>
      client.xclaim(stream, group, "python-1", 0, entry, "IDLE", minutes * 60_000, "JUSTID");
    await idle(14);
    await working();
    // By the end of two more steps every pending job has been looked at.
    for (const code of ["sleep 2", "sleep 2"]) {
      const { runId } = enqueue(sandbox(code));
      await vi.waitFor(() => expect(status(runId)).toBe("completed"), within);
    }
    expect(results(taken.runId)).toEqual([]);
    await idle(16);
    await vi.waitFor(() => expect(status(taken.runId)).toBe("completed"), within);
    expect(touches("taken")).toBe(1);
  },
);

it(
  "a step that waits for a person is parked, and another worker takes it up [park.any-worker]",
  { timeout },
  async () => {
    await working();
    const { runId, stepId } = enqueue(tool("quick/put", "parked"));
    await vi.waitFor(() => expect(status(runId)).toBe("waitingapproval"), within);
    await vi.waitFor(async () => expect(await client.xlen(stream)).toBe(0), within);
    await end("SIGKILL");
    await working();
    expect(touches("parked")).toBe(0);
    gateway.approve(runId, stepId);
    await vi.waitFor(() => expect(status(runId)).toBe("completed"), within);
    expect(touches("parked")).toBe(1);
  },
);

it(
  "after SIGTERM a Python worker takes what nobody has read, and one of ours what was released [drain.released]",
  { timeout },
  async () => {
    const running = await working();
    const released = enqueue(sandbox("sleep 3"));
    const { stepId } = released;
    await running.says(new RegExp(`${stepId}.*policy gave its|policy gave its.*${stepId}`, "u"));
    await end("SIGTERM");
    // Not a moment sooner: what comes while it stops may still reach its last read, and is released then, too.
    const unread = enqueue(sandbox("echo unread"));
    const read = await client.xreadgroup(
      "GROUP",
      group,
      "python-1",
      "COUNT",
      9,
      "STREAMS",
      stream,
      ">",
    );
    expect(JSON.stringify(read)).toContain(unread.stepId);
    expect(JSON.stringify(read)).not.toContain(stepId);
    await working();
    await vi.waitFor(() => expect(status(released.runId)).toBe("completed"), within);
  },
);

it(
  "an effect that may not be repeated is not, when its worker dies [effect.unsafe-once]",
  { timeout },
  async () => {
    await working();
    const { runId } = enqueue(tool("slow/post", "killed"));
    await vi.waitFor(() => expect(touches("killed")).toBe(1), within);
    await end("SIGKILL");
    await working();
    await vi.waitFor(() => expect(status(runId)).toBe("waitingapproval"), within);
    expect(touches("killed")).toBe(1);
  },
);
