import { isJsonObject, jsonDepth, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { GatewayAnswer, SeenRequest } from "./ferrumdeck-gateway.ts";

/** What the gateway keeps. */
export interface Known {
  runs: Map<string, JsonObject>;
  steps: Map<string, JsonObject>;
  /** The step results that were taken, in order. */
  results: { runId: string; stepId: string; body: JsonObject }[];
  verdicts: Record<string, string>;
  /** Before 0.6 its check-tool looked at no list and denied everything. */
  deniesAllTools: boolean;
  /** Every status that a run took, in order. */
  history: Map<string, string[]>;
  publish: (fields: Record<string, string>) => void;
  changed: (runId: string) => void;
}

export const apiKey = "fd_dev_key_abc123";
const project = "prj_01JFVX0000000000000000001";
const tenant = "ten_01JFVX0000000000000000001";
const ended = new Set([
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "budgetkilled",
  "policyblocked",
]);

const error = (status: number, code: string, message: string): GatewayAnswer => ({
  status,
  body: { error: { code, message } },
});
export const overLimit = error(400, "BAD_REQUEST", "Invalid JSON: length limit exceeded");
const notJson = error(400, "BAD_REQUEST", "Invalid JSON: expected value");
const notDecoded = error(400, "BAD_REQUEST", "Invalid JSON: lone leading surrogate in hex escape");
const tooDeep = error(400, "BAD_REQUEST", "Invalid JSON: recursion limit exceeded");
const notStored = error(500, "INTERNAL_ERROR", "Database error");
const deepest = 127;

/** What serde_json refuses, which reads every body before anything else does. */
export function refusedBody(body: unknown): GatewayAnswer | null {
  if (body === undefined) return notJson;
  if (jsonDepth(body, deepest) > deepest) return tooDeep;
  return hasText(body, (text) => !text.isWellFormed()) ? notDecoded : null;
}

/** PostgreSQL's jsonb takes no U+0000, and the gateway answers as for any trouble of its database. */
const isStorable = (value: unknown) => !hasText(value, (text) => text.includes("\0"));

function hasText(value: unknown, test: (text: string) => boolean): boolean {
  if (typeof value === "string") return test(value);
  if (typeof value !== "object" || value === null) return false;
  return Object.entries(value).some(([key, item]) => test(key) || hasText(item, test));
}

function setRun(run: JsonObject, patch: JsonObject, known: Known): void {
  const id = String(run["id"]);
  const before = run["status"];
  Object.assign(run, patch);
  if (run["status"] === before) return;
  known.history.set(id, [...(known.history.get(id) ?? []), String(run["status"])]);
  known.changed(id);
}

/** A step's job as the gateway enqueues it; its database knows an approval step as `human`. */
export function enqueue(job: QueuedJob, known: Known): void {
  const run = findRun(job.runId, known);
  const step = findStep(job.stepId, job.runId, known);
  if (run === undefined || step === undefined)
    throw new Error(`not an id of the gateway's: ${job.runId}`);
  const type = job.stepType === "approval" ? "human" : job.stepType;
  Object.assign(step, { step_type: type, input: job.input });
  setRun(run, { status: "queued" }, known);
  known.publish(envelope(job));
}

export const republish = (job: QueuedJob, known: Known): void => known.publish(envelope(job));

export interface QueuedJob {
  runId: string;
  stepId: string;
  stepType: string;
  input: JsonObject;
}

function envelope({ runId, stepId, stepType, input }: QueuedJob): Record<string, string> {
  const context = { tenant_id: tenant, project_id: project, trace_id: null, span_id: null };
  const payload = { run_id: runId, step_id: stepId, step_type: stepType, input, context };
  return { data: JSON.stringify({ id: stepId, payload, created_at: Date.now(), attempts: 0 }) };
}

export function approve(runId: string, stepId: string, known: Known): void {
  const run = findRun(runId, known);
  const step = findStep(stepId, runId, known);
  if (run === undefined || step === undefined) return;
  setRun(run, { status: "running" }, known);
  Object.assign(step, { status: "running" });
  const { step_type: stepType, input } = step;
  known.publish(
    envelope({
      runId,
      stepId,
      stepType: String(stepType),
      input: isJsonObject(input) ? input : {},
    }),
  );
}

export function reject(runId: string, stepId: string, known: Known): void {
  const why = { message: "Approval rejected", rejected_by: "key_1" };
  Object.assign(findStep(stepId, runId, known) ?? {}, { status: "failed", error: why });
  setRun(findRun(runId, known) ?? {}, { status: "failed" }, known);
}

export function expire(runId: string, known: Known): void {
  setRun(findRun(runId, known) ?? {}, { status: "failed" }, known);
}
const notFound = (what: string) => error(404, "NOT_FOUND", `${what} not found`);
const ok = (body: unknown, status = 200): GatewayAnswer => ({ status, body });

export function gateway(request: SeenRequest, known: Known): GatewayAnswer {
  const { method, path, headers, query } = request;
  if (method === "GET" && path === "/health") return ok({ status: "healthy", version: "0.1.0" });
  if (!path.startsWith("/v1/")) return { status: 404, body: "" };
  if (headers["authorization"] !== `Bearer ${apiKey}`) {
    return error(401, "UNAUTHORIZED", "Invalid API key");
  }
  const body = isJsonObject(request.body) ? request.body : {};
  const [, , resource = "", id = "", part = "", stepId = ""] = path.split("/");
  if (resource === "approvals") return approvals(method, id);
  if (`${resource}/${id}` === "registry/agents" && method === "GET") {
    return query["project_id"] === undefined ? missingProject : ok([]);
  }
  if (resource !== "runs") return { status: 404, body: "" };
  if (id === "") return method === "GET" ? listRuns(query, known) : createRun(body, known);
  const run = findRun(id, known);
  if (run === undefined) return notFound(`Run ${id}`);
  switch (`${method} ${part}`) {
    case "GET ":
      return ok(run);
    case "POST cancel":
      return cancel(id, known);
    case "GET steps":
      return ok(stepsOf(id, known));
    case "POST check-tool":
      return checkTool(run, body, known);
    case "POST steps":
      return submitResult(run, stepId, body, known);
    default:
      return { status: 405, body: "" };
  }
}

/** A run has its first step from its making on, also one that a test has only named. */
function stepsOf(runId: string, known: Known): JsonObject[] {
  const steps = [...known.steps.values()].filter((step) => step["run_id"] === runId);
  if (steps.length > 0) return steps;
  const first = { id: "stp_first", run_id: runId, step_number: 1, step_type: "llm" };
  return [{ ...first, status: "pending", input: {}, output: null, error: null }];
}

const missingProject = error(400, "BAD_REQUEST", "missing field `project_id`");

/** Nothing in FerrumDeck ever creates one. */
const approvals = (method: string, id: string) =>
  method === "GET" && id === ""
    ? ok([])
    : method === "PUT"
      ? notFound("Approval")
      : { status: 405, body: "" };

function listRuns(query: Record<string, string>, known: Known): GatewayAnswer {
  if (query["project_id"] === undefined) return missingProject;
  const limit = Number(query["limit"] ?? 20);
  if (!(limit >= 1 && limit <= 100)) return error(422, "VALIDATION_ERROR", "limit: 1 to 100");
  const runs = [...known.runs.values()].toReversed();
  const offset = Number(query["offset"] ?? 0);
  return ok({ runs: runs.slice(offset, offset + limit), total: runs.length });
}

function createRun(body: JsonObject, known: Known): GatewayAnswer {
  if (typeof body["agent_id"] !== "string" || !("input" in body)) {
    return error(400, "BAD_REQUEST", "Invalid JSON: missing field");
  }
  if (!isStorable(body)) return notStored;
  const suffix = String(known.runs.size + 1).padStart(26, "0");
  const run = findRun(`run_${suffix}`, known);
  if (run === undefined) return notFound("Run");
  const created = { ...run, input: body["input"] };
  Object.assign(run, { input: body["input"] });
  const input = isJsonObject(body["input"]) ? body["input"] : {};
  enqueue({ runId: `run_${suffix}`, stepId: `stp_${suffix}`, stepType: "llm", input }, known);
  return ok(created, 201);
}

function findRun(id: string, known: Known): JsonObject | undefined {
  if (!id.startsWith("run_")) return undefined;
  const run = known.runs.get(id) ?? {
    id,
    project_id: project,
    agent_version_id: "agv_01JFVX0000000000000000001",
    status: "created",
    input: {},
    output: null,
    input_tokens: 0,
    output_tokens: 0,
    tool_calls: 0,
    cost_cents: 0,
    created_at: "2026-01-26T10:00:00.000000+00:00",
    started_at: null,
    completed_at: null,
  };
  known.runs.set(id, run);
  return run;
}

function findStep(id: string, runId: string, known: Known): JsonObject | undefined {
  if (!id.startsWith("stp_")) return undefined;
  const number = [...known.steps.values()].filter((step) => step["run_id"] === runId).length + 1;
  const step = known.steps.get(id) ?? {
    id,
    run_id: runId,
    step_number: number,
    step_type: "llm",
    status: "pending",
    input: {},
    output: null,
    error: null,
    tool_name: null,
    model: null,
    input_tokens: null,
    output_tokens: null,
    created_at: "2026-01-26T10:00:00.000000+00:00",
    completed_at: null,
  };
  known.steps.set(id, step);
  return step;
}

export function cancel(id: string, known: Known): GatewayAnswer {
  const run = findRun(id, known);
  if (run === undefined) return notFound(`Run ${id}`);
  if (ended.has(String(run["status"]))) return error(400, "BAD_REQUEST", "Run is already terminal");
  setRun(run, { status: "cancelled", completed_at: new Date().toISOString() }, known);
  return ok(run);
}

function checkTool(run: JsonObject, body: JsonObject, known: Known): GatewayAnswer {
  const tool = body["tool_name"];
  if (typeof tool !== "string" || tool === "" || tool.length > 255) {
    return error(422, "VALIDATION_ERROR", "tool_name: length 1 to 255");
  }
  const isListed = !known.deniesAllTools && Object.hasOwn(known.verdicts, tool);
  const said = isListed ? known.verdicts[tool] : "unlisted";
  if (said !== "allow") setRun(run, { status: "policyblocked" }, known);
  return ok({
    allowed: said === "allow",
    requires_approval: said === "ask",
    decision_id: "pdc_01JFVX00000000000000000001",
    reason: said === "unlisted" ? `tool '${tool}' is not in allowlist` : `policy says ${said}`,
    risk_score: 0,
    risk_level: "low",
    blocked_by_airlock: false,
    shadow_mode: false,
  });
}

function submitResult(run: JsonObject, id: string, body: JsonObject, known: Known): GatewayAnswer {
  const status = body["status"];
  if (status !== "completed" && status !== "failed" && status !== "waiting_approval") {
    return error(422, "VALIDATION_ERROR", "status: completed, failed or waiting_approval");
  }
  const step = findStep(id, String(run["id"]), known);
  if (step === undefined) return notFound(`Step ${id}`);
  if (step["run_id"] !== run["id"]) return error(400, "BAD_REQUEST", "Step is not in this run");
  if (!isStorable(body)) return notStored;
  known.results.push({ runId: String(run["id"]), stepId: id, body });
  const spelled = status.replaceAll("_", "");
  const { output = null, error: problem = null } = body;
  const tokens = {
    input_tokens: body["input_tokens"] ?? null,
    output_tokens: body["output_tokens"] ?? null,
  };
  const at = new Date().toISOString();
  Object.assign(step, { status: spelled, output, error: problem, ...tokens, completed_at: at });
  // Booked as often as it is sent.
  if (tokens.input_tokens !== null && tokens.output_tokens !== null) {
    const sum = (key: "input_tokens" | "output_tokens") => Number(run[key]) + Number(tokens[key]);
    Object.assign(run, { input_tokens: sum("input_tokens"), output_tokens: sum("output_tokens") });
  }
  if (Number(run["input_tokens"]) > 100_000 || Number(run["output_tokens"]) > 50_000) {
    setRun(run, { status: "budgetkilled" }, known);
    return ok(step);
  }
  const open = [...known.steps.values()].some(
    (other) => other["run_id"] === run["id"] && other["status"] === "pending",
  );
  if (status !== "completed") setRun(run, { status: spelled }, known);
  else if (!open) setRun(run, { status: spelled, output }, known);
  return ok(step);
}
