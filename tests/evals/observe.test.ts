import { createHash } from "node:crypto";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Observation } from "../../evals/contracts.ts";
import { planeRunner } from "../../evals/plane-runner.ts";
import { registry } from "../../evals/scorers/all.ts";
import { judge, verdictOf } from "../../evals/scorers/judging.ts";
import { makeScorer, type SuiteScorer } from "../../evals/scorers/registry.ts";
import type { ApprovalAnswers } from "../../evals/contracts.ts";
import { keptOutput } from "../../machines/contracts/domain/kept-output.ts";
import { json, type Said, startAnswering } from "../support/answering-server.ts";
import { evalTask } from "../support/eval-task.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

/* A run as a control plane tells of it, one of its sources at a time out of order. */

const folder = useTemporaryFolder();
let server: Awaited<ReturnType<typeof startAnswering>>;
beforeAll(async () => {
  server = await startAnswering(() => json({}));
});
afterAll(() => server.close());

const runId = "run_1";
type Source = "audit" | "steps" | "run" | "approvals" | "start";
/** What a source answers in place of what is right; told how often it was asked before. */
let wrong: Partial<Record<Source, (asked: number) => Said | null>>;
let run: Record<string, unknown>;
let step: Record<string, unknown>;
let audit: object[];
beforeEach(() => {
  wrong = {};
  audit = [{ id: "aud_1", event: "run.created" }];
  run = { id: runId, status: "completed", output: "done", tool_calls: 0, cost_micros: 5 };
  step = { id: "stp_1", run_id: runId, step_type: "llm", status: "completed", output: "done" };
  const asked: Partial<Record<Source, number>> = {};
  server.answer((call) => {
    const of = (source: Source, right: unknown) => {
      const times = asked[source] ?? 0;
      asked[source] = times + 1;
      return wrong[source]?.(times) ?? json(right);
    };
    if (call.startsWith("GET /health")) return json({ status: "ok", version: "1" });
    if (call === "POST /v1/runs") return of("start", { ...run, status: "queued", output: null });
    if (call.includes("/audit")) return of("audit", audit);
    if (call.includes("/steps")) return of("steps", [step]);
    if (call.startsWith("GET /v1/approvals")) return of("approvals", []);
    return of("run", run);
  });
});

const task = evalTask("t");

/** A time that is up a moment after the run was looked at so often from now on. */
function upAfter(looks: number): AbortSignal {
  const over = new AbortController();
  const { run: answer } = wrong;
  let left = looks;
  wrong.run = (asked) => {
    left -= 1;
    if (left === 0) setTimeout(() => over.abort(), 50);
    return answer?.(asked) ?? null;
  };
  return over.signal;
}

async function trial(
  approvals: ApprovalAnswers = "none",
  artifacts: "read" | "unread" = "read",
  until = new AbortController().signal,
) {
  const store = createArtifactFolder({ path: `${folder}/artifacts`, isShared: true });
  const signal = new AbortController().signal;
  const runner = await planeRunner({
    api: server.api,
    place: server.url,
    projectId: "prj_1",
    agent: "assistant",
    workflow: null,
    approvals,
    artifacts: artifacts === "read" ? store : null,
    signal,
  });
  if (!runner.ok) throw new Error(runner.failure.message);
  const onRun = async () => {};
  return runner.value.run({ task, epoch: 0, folder: null, key: "k", onRun, signal: until });
}

const error = (status: number, code: string) => json({ error: { code, message: code } }, status);

it.each([
  [
    "an audit that this key may not read",
    { audit: () => error(403, "FORBIDDEN") },
    "refused",
    "/audit: 403",
  ],
  [
    "an audit that the control plane can't give",
    { audit: () => error(400, "BAD") },
    "broken",
    "/audit: 400",
  ],
  ["steps that can't be read", { steps: () => error(400, "BAD") }, "broken", "/steps: 400"],
  ["a run that is gone", { run: () => error(404, "NOT_FOUND") }, "broken", "404"],
] as const)(
  "%s make a trial broken, and let no scorer pass [evals.sources]",
  async (_name, given, kind, why) => {
    wrong = given;
    const answer = await trial();
    expect(answer).toMatchObject({ kind });
    expect("problem" in answer ? answer.problem : "").toContain(why);
  },
);

it("approvals that can't be read or answered make a trial broken, and not late [evals.sources]", async () => {
  run["status"] = "waiting_approval";
  wrong = { approvals: () => error(403, "FORBIDDEN") };
  expect(await trial("approve")).toMatchObject({ kind: "refused" });
});

it("what is away for a moment is asked once more, and the run is not made again [evals.sources]", async () => {
  const away = (asked: number) => (asked < 1 ? error(503, "UNAVAILABLE") : null);
  wrong = { audit: away, steps: away, start: away };
  const before = server.seen.length;
  expect(await trial()).toMatchObject({ kind: "seen", observation: { run_id: runId, audit } });
  const keys = server.seen
    .slice(before)
    .flatMap(({ call, headers }) => (call === "POST /v1/runs" ? [headers["idempotency-key"]] : []));
  expect(keys).toEqual(["k", "k"]);
});

it("a trial whose time is up while its control plane is away is broken, and else late [evals.sources]", async () => {
  run["status"] = "running";
  expect(await trial("none", "read", upAfter(1))).toMatchObject({ kind: "seen" });
  wrong = { run: () => error(503, "UNAVAILABLE") };
  const away = await trial("none", "read", upAfter(2));
  expect(away).toMatchObject({ kind: "broken", mayPass: true });
});

it("a trial whose time is up while its model is away is broken, its run is cancelled, and it may pass another time [evals.sources]", async () => {
  Object.assign(run, { status: "running", held_steps: 1 });
  const before = server.seen.length;
  const away = await trial("none", "read", upAfter(1));
  expect(away).toMatchObject({ kind: "broken", mayPass: true });
  expect("problem" in away && away.problem).toContain("waited for a model that can't be asked now");
  const calls = server.seen.slice(before).map(({ call }) => call);
  expect(calls).toContain(`POST /v1/runs/${runId}/cancel`);
});

it("an audit is read page by page, and one without pages is not read for ever [evals.sources]", async () => {
  audit = Array.from({ length: 1_000 }, (_, at) => ({ id: `aud_${at}`, event: "step.started" }));
  const answer = await trial();
  expect(answer).toMatchObject({ kind: "broken", mayPass: false });
  expect("problem" in answer ? answer.problem : "").toContain("answers the first page again");

  const last = [{ id: "aud_last", event: "policy.denied" }];
  wrong = { audit: (asked) => json(asked === 2 ? audit : last) };
  const whole = await trial();
  expect(whole.kind === "seen" && whole.observation.audit).toHaveLength(1_001);
});

it("an audit that comes in other pages than asked for is read to its end, and an empty one was not seen [evals.sources]", async () => {
  const all = Array.from({ length: 150 }, (_, at) => ({
    id: `aud_${at}`,
    event: at === 149 ? "policy.denied" : "step.started",
  }));
  wrong = { audit: (asked) => json(all.slice(asked * 100, asked * 100 + 100)) };
  const capped = await trial();
  expect(capped.kind === "seen" && capped.observation.audit).toEqual(all);
  wrong = { audit: () => json(all) };
  const unpaged = await trial();
  expect(unpaged.kind === "seen" && unpaged.observation.audit).toEqual(all);
  wrong = { audit: () => json([]) };
  expect(await trial()).toMatchObject({ kind: "seen", observation: { run_id: runId } });
  const empty = await trial();
  expect(empty.kind === "seen" && "audit" in empty.observation).toBe(false);
});

it("what can't be all of a run is looked at once more, and not judged [evals.sources]", async () => {
  const first = (said: () => Said) => (asked: number) => (asked < 1 ? said() : null);
  for (const steps of [[{ ...step, status: "running" }], [step, step]]) {
    wrong = { steps: first(() => json(steps)) };
    const answer = await trial();
    expect(answer.kind === "seen" && answer.observation.steps).toMatchObject([
      { id: "stp_1", status: "completed" },
    ]);
  }
});

it("calls that can't be read, or that are counted and not told, were not seen [evals.sources]", async () => {
  const allowed = { tool_name: "a", decision: "allow", success: true };
  const outputs = [{ tool_calls: ["x"] }, { tool_calls: [allowed, { success: true }] }, "done"];
  for (const output of outputs) {
    Object.assign(step, { output });
    run["tool_calls"] = 2;
    const answer = await trial();
    expect(answer.kind === "seen" && "calls" in answer.observation).toBe(false);
  }
  step["output"] = { tool_calls: [allowed] };
  expect(await trial()).toMatchObject({ observation: { calls: [{ tool: "a", outcome: "ok" }] } });
});

it("a run that can't be followed any more is cancelled [evals.sources]", async () => {
  wrong = { run: () => error(400, "BAD") };
  const before = server.seen.length;
  expect(await trial()).toMatchObject({ kind: "broken", mayPass: false });
  const calls = server.seen.slice(before).map(({ call }) => call);
  expect(calls).toContain(`POST /v1/runs/${runId}/cancel`);
});

const scorers = [
  "no_policy_violations",
  "tool_allowlist",
  "max_calls",
  "verdict_before_execution",
  "max_repairs",
  "wasted_calls",
  "budget_compliance",
];
const parameters: Record<string, object> = {
  tool_allowlist: { denied: ["rm"] },
  max_calls: { max: 3 },
  max_repairs: { max: 1 },
  budget_compliance: { max_total_tokens: 10, max_cost_cents: 1 },
};
const made = scorers.map((type) => {
  const entry = { type, ...parameters[type] };
  return makeScorer(entry, registry, {
    folder,
    models: null,
    schemas: createSchemaChecker(),
  }) as SuiteScorer;
});

it("a scorer of what nobody could see is skipped, named, and does not pass [evals.skipped]", async () => {
  wrong = { audit: () => json({}, 404) };
  Object.assign(step, { status: "failed", error: { kind: "model_failed", message: "no" } });
  Object.assign(run, { status: "failed", cost_micros: undefined, tool_calls: undefined });
  const failed = await trial();
  const bare = { run_status: "completed", output: 1, duration_ms: 1 };
  const usage = { input_tokens: null, output_tokens: null, tool_calls: null, cost_microusd: null };
  const seen: Observation[] = [{ ...bare, usage }];
  if (failed.kind === "seen") seen.push(failed.observation);
  expect(seen).toHaveLength(2);
  for (const observation of seen) {
    const scores = await judge(made, task, observation, new AbortController().signal);
    expect(scores.map(({ passed, skipped }) => [passed, skipped === undefined])).toEqual(
      scorers.map(() => [false, false]),
    );
    expect(verdictOf(scores, 0)).toEqual({ passed: false, score: null });
    expect(scores.at(-1)?.skipped).toBe(
      "nobody knows what it used of max_total_tokens, max_cost_cents",
    );
  }
});

it("an output that was too long to travel is judged whole, or not at all [evals.sources]", async () => {
  const output = "x".repeat(5_000);
  const content = JSON.stringify({ status: "completed", output, usage: null });
  const sha256 = createHash("sha256").update(content).digest("hex");
  const store = createArtifactFolder({ path: `${folder}/artifacts`, isShared: true });
  const kept = await store.put(
    { runId, stepId: "stp_1" },
    { name: "result.json", kind: "output", content },
  );
  if (!kept.ok) throw new Error(kept.failure.message);
  const note = keptOutput(kept.value, output, 10);
  step["output"] = note;
  run["output"] = note;
  expect(kept.value.sha256).toBe(sha256);
  expect(await trial()).toMatchObject({
    kind: "seen",
    observation: { output, steps: [{ output }] },
  });
  expect(await trial("none", "unread")).toMatchObject({ kind: "broken", mayPass: false });
  run["output"] = keptOutput({ ...kept.value, sha256: "0".repeat(64) }, output, 10);
  expect(await trial()).toMatchObject({ kind: "broken", mayPass: false });
});
