import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import { isJsonObject, type JsonObject } from "../../../machines/contracts/domain/json.ts";
import { listen } from "./listen.ts";

export interface SeenRequest {
  method: string;
  /** Without the query. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** Parsed; null where there was none. */
  body: unknown;
  /** The client's own port: requests over one connection have the same. */
  port: number;
}

export interface GatewayAnswer {
  status: number;
  headers?: Record<string, string>;
  body: unknown;
}

export interface GatewayOptions {
  /** What policy says of a tool; of every other it says no. */
  verdicts?: Record<string, "allow" | "deny" | "ask">;
  /** Looked at first: an answer given here takes the place of the gateway's own. */
  failing?: (request: SeenRequest) => GatewayAnswer | null | undefined;
}

export interface FerrumDeckGateway {
  url: string;
  apiKey: string;
  /** Every request in order, refused ones too. */
  requests: SeenRequest[];
  /** As after a person's yes: step and run are `running`. Enqueuing the step again is the test's. */
  approve(runId: string, stepId: string): void;
  /** The step results that were taken, in order. */
  results(): { runId: string; stepId: string; body: JsonObject }[];
  close(): Promise<void>;
}

const apiKey = "fd_dev_key_abc123";
const bodyLimit = 2 * 1024 * 1024;
const project = "prj_01JFVX0000000000000000001";
const ended = new Set([
  "completed",
  "failed",
  "cancelled",
  "timeout",
  "budgetkilled",
  "policyblocked",
]);

interface Known {
  runs: Map<string, JsonObject>;
  steps: Map<string, JsonObject>;
  results: { runId: string; stepId: string; body: JsonObject }[];
  verdicts: Record<string, string>;
}

/**
 * Answers as FerrumDeck's gateway does (wire contract 1.2 to 1.5), its faults included: no extensions, statuses
 * without underscores, later results overwrite earlier ones, a tool that is not allowed blocks the run. Runs
 * `run_…` and steps `stp_…` are known as soon as they are named; other ids are not.
 */
export async function startFerrumDeckGateway(
  options: GatewayOptions = {},
): Promise<FerrumDeckGateway> {
  const requests: SeenRequest[] = [];
  const known: Known = {
    runs: new Map(),
    steps: new Map(),
    results: [],
    verdicts: options.verdicts ?? {},
  };
  const server = createServer((incoming, response) => {
    void respond(incoming, response);
  });
  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { request, refused } = await readRequest(incoming);
    requests.push(request);
    const answer = options.failing?.(request) ?? refused ?? gateway(request, known);
    response.writeHead(answer.status, { "content-type": "application/json", ...answer.headers });
    response.end(JSON.stringify(answer.body));
  };
  return {
    url: `http://127.0.0.1:${await listen(server)}`,
    apiKey,
    requests,
    approve: (runId, stepId) => {
      Object.assign(findRun(runId, known) ?? {}, { status: "running" });
      Object.assign(findStep(stepId, runId, known) ?? {}, { status: "running" });
    },
    results: () => known.results,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

async function readRequest(incoming: IncomingMessage) {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks);
  const url = new URL(incoming.url ?? "/", "http://gateway");
  const body = parse(text.toString());
  const request: SeenRequest = {
    method: incoming.method ?? "",
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: incoming.headers as Record<string, string>,
    body: body ?? null,
    port: incoming.socket.remotePort ?? 0,
  };
  if (text.length > bodyLimit) return { request, refused: overLimit };
  return { request, refused: body === undefined ? notJson : null };
}

function parse(text: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const error = (status: number, code: string, message: string): GatewayAnswer => ({
  status,
  body: { error: { code, message } },
});
const overLimit = error(400, "BAD_REQUEST", "Invalid JSON: length limit exceeded");
const notJson = error(400, "BAD_REQUEST", "Invalid JSON: expected value");
const notFound = (what: string) => error(404, "NOT_FOUND", `${what} not found`);
const ok = (body: unknown, status = 200): GatewayAnswer => ({ status, body });

function gateway(request: SeenRequest, known: Known): GatewayAnswer {
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
      return cancel(run);
    case "GET steps":
      return ok([...known.steps.values()].filter((step) => step["run_id"] === id));
    case "POST check-tool":
      return checkTool(run, body, known);
    case "POST steps":
      return submitResult(run, stepId, body, known);
    default:
      return { status: 405, body: "" };
  }
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
  const suffix = String(known.runs.size + 1).padStart(26, "0");
  const run = findRun(`run_${suffix}`, known);
  if (run === undefined) return notFound("Run");
  const created = { ...run, input: body["input"] };
  Object.assign(run, { input: body["input"], status: "queued" });
  findStep(`stp_${suffix}`, `run_${suffix}`, known);
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

function cancel(run: JsonObject): GatewayAnswer {
  if (ended.has(String(run["status"]))) return error(400, "BAD_REQUEST", "Run is already terminal");
  Object.assign(run, { status: "cancelled", completed_at: new Date().toISOString() });
  return ok(run);
}

function checkTool(run: JsonObject, body: JsonObject, known: Known): GatewayAnswer {
  const tool = body["tool_name"];
  if (typeof tool !== "string" || tool === "" || tool.length > 255) {
    return error(422, "VALIDATION_ERROR", "tool_name: length 1 to 255");
  }
  const said = Object.hasOwn(known.verdicts, tool) ? known.verdicts[tool] : "unlisted";
  if (said !== "allow") Object.assign(run, { status: "policyblocked" });
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
  known.results.push({ runId: String(run["id"]), stepId: id, body });
  const spelled = status.replaceAll("_", "");
  const { output = null, error: problem = null } = body;
  const tokens = {
    input_tokens: body["input_tokens"] ?? null,
    output_tokens: body["output_tokens"] ?? null,
  };
  const at = new Date().toISOString();
  Object.assign(step, { status: spelled, output, error: problem, ...tokens, completed_at: at });
  const open = [...known.steps.values()].some(
    (other) => other["run_id"] === run["id"] && other["status"] === "pending",
  );
  if (status !== "completed") Object.assign(run, { status: spelled });
  else if (!open) Object.assign(run, { status: spelled, output });
  return ok(step);
}
