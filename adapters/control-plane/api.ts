import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { isId, type StepType } from "../../machines/contracts/domain/job.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import {
  type ApprovalView,
  approvalView,
  type RunView,
  runView,
  type StepView,
  stepView,
} from "../../machines/contracts/wire/views.ts";
import { type Answer, checked } from "./answer.ts";
import { type ApiRequest, type ControlPlaneHttp, createHttp, type HttpOptions } from "./http.ts";

/** An agent as `GET /v1/registry/agents` lists it, extra keys passed over. */
export const agentView = once(() =>
  type({
    id: "string",
    slug: "string",
    name: "string",
    "description?": "string | null",
    "status?": "string",
    "latest_version?": type({
      id: "string",
      version: "string",
      "model?": "string | null",
      "allowed_tools?": "string[] | null",
    }).or("null"),
  }),
);
export type AgentView = ReturnType<typeof agentView>["infer"];

/** FerrumDeck's gateway says its status and version; many a proxy's own health page says a status too. */
const healthView = once(() =>
  type({ status: "string", version: "string", "extensions?": "string[]" }),
);
export type HealthView = ReturnType<typeof healthView>["infer"];

const runPage = once(() => type({ runs: runView().array(), total: "number" }));
export type RunPage = ReturnType<typeof runPage>["infer"];

/** Every run has at least one step, so an empty list did not come from the control plane. */
const stepList = once(() => stepView().array().atLeastLength(1));
const approvalList = once(() => approvalView().array());
const agentList = once(() => agentView().array());

/** One step of a run that names its steps itself; only where `steps` is advertised. */
export interface PlannedStep {
  type: StepType;
  input: JsonObject;
  name?: string;
  /** What its failure does to the run; `fail` unless said. */
  on_error?: "fail" | "continue";
}

export interface NewRun {
  /** An agent's id or slug. */
  agentId: string;
  input: Json;
  config?: JsonObject;
  steps?: PlannedStep[];
}

/** The control plane as people use it. Never retries; every failure says whether one may. */
export interface ControlPlaneApi {
  readonly http: ControlPlaneHttp;
  /** Any call, its 403 told apart: the key's trouble or the call's own. */
  call(request: ApiRequest, signal: AbortSignal): Promise<Outcome<Answer>>;
  createRun(run: NewRun, signal: AbortSignal): Promise<Outcome<RunView>>;
  run(runId: string, signal: AbortSignal): Promise<Outcome<RunView>>;
  /** Newest first. `limit` 1 to 100. */
  runs(
    projectId: string,
    limit: number,
    offset: number,
    signal: AbortSignal,
  ): Promise<Outcome<RunPage>>;
  cancel(runId: string, signal: AbortSignal): Promise<Outcome<RunView>>;
  steps(runId: string, signal: AbortSignal): Promise<Outcome<StepView[]>>;
  /** One step, by its id alone; FerrumDeck's gateway knows none so. */
  step(id: string, signal: AbortSignal): Promise<Outcome<StepView>>;
  /** The pending ones. */
  approvals(limit: number, signal: AbortSignal): Promise<Outcome<ApprovalView[]>>;
  /** What people were asked about a run, answered or not; of FerrumDeck's gateway only what still waits. */
  approvalsOf(runId: string, signal: AbortSignal): Promise<Outcome<ApprovalView[]>>;
  /** One of them, whatever became of it; FerrumDeck's gateway knows none by its id. */
  approval(id: string, signal: AbortSignal): Promise<Outcome<ApprovalView>>;
  resolveApproval(
    id: string,
    approved: boolean,
    note: string | null,
    signal: AbortSignal,
    /** A yes to these arguments in place of those that were asked about; our own control plane's. */
    input?: JsonObject,
  ): Promise<Outcome<ApprovalView>>;
  agents(projectId: string, signal: AbortSignal): Promise<Outcome<AgentView[]>>;
  /** Needs no key. */
  health(signal: AbortSignal): Promise<Outcome<HealthView>>;
  close(): Promise<void>;
}

/**
 * A client of the control plane's HTTP API, with one pool of kept-alive connections.
 *
 * @throws UnusableTarget when the URL is not HTTP or the key could not be sent in a header
 */
export function createControlPlaneApi(options: HttpOptions): ControlPlaneApi {
  return controlPlaneApi(createHttp(options));
}

/** The same over a transport that the caller made: the simulator's, in virtual time. */
export function controlPlaneApi(http: ControlPlaneHttp): ControlPlaneApi {
  const call = tellForbidden(http);
  const get = (path: string, signal: AbortSignal) => call({ method: "GET", path }, signal);
  return {
    http,
    call,
    async createRun({ agentId, input, config, steps }, signal) {
      const body = {
        agent_id: agentId,
        input,
        ...(config === undefined ? {} : { config }),
        ...(steps === undefined ? {} : { steps }),
      };
      return checked(
        await call({ method: "POST", path: "/v1/runs", body }, signal),
        runView(),
        "run",
      );
    },
    async run(runId, signal) {
      const path = pathTo`/v1/runs/${runId}`;
      if (!path.ok) return path;
      return checked(await get(path.value, signal), runView(), "run", { id: runId });
    },
    async runs(projectId, limit, offset, signal) {
      const query = new URLSearchParams({
        project_id: projectId,
        limit: String(limit),
        offset: String(offset),
      });
      return checked(await get(`/v1/runs?${query}`, signal), runPage(), "list of runs");
    },
    async cancel(runId, signal) {
      const path = pathTo`/v1/runs/${runId}/cancel`;
      if (!path.ok) return path;
      const answer = await call({ method: "POST", path: path.value }, signal);
      return checked(answer, runView(), "run", { id: runId });
    },
    async steps(runId, signal) {
      const path = pathTo`/v1/runs/${runId}/steps`;
      if (!path.ok) return path;
      const wanted = { run_id: runId };
      return checked(await get(path.value, signal), stepList(), "list of steps", wanted);
    },
    async step(id, signal) {
      const path = pathTo`/v1/steps/${id}`;
      if (!path.ok) return path;
      return checked(await get(path.value, signal), stepView(), "step", { id });
    },
    async approvals(limit, signal) {
      const answer = await get(`/v1/approvals?limit=${limit}`, signal);
      return checked(answer, approvalList(), "list of approvals");
    },
    async approvalsOf(runId, signal) {
      const path = pathTo`/v1/approvals?status=all&limit=1000&run_id=${runId}`;
      if (!path.ok) return path;
      const found = checked(await get(path.value, signal), approvalList(), "list of approvals");
      return found.ok ? ok(found.value.filter(({ run_id: id }) => id === runId)) : found;
    },
    async approval(id, signal) {
      const path = pathTo`/v1/approvals/${id}`;
      if (!path.ok) return path;
      return checked(await get(path.value, signal), approvalView(), "approval", { id });
    },
    async resolveApproval(id, approved, note, signal, input) {
      const path = pathTo`/v1/approvals/${id}`;
      if (!path.ok) return path;
      const body = { approved, ...(note !== null && { note }), ...(input && { input }) };
      const answer = await call({ method: "PUT", path: path.value, body }, signal);
      return checked(answer, approvalView(), "approval", { id });
    },
    async agents(projectId, signal) {
      const query = new URLSearchParams({ project_id: projectId });
      return checked(
        await get(`/v1/registry/agents?${query}`, signal),
        agentList(),
        "list of agents",
      );
    },
    async health(signal) {
      return checked(
        await get("/health", signal),
        healthView(),
        "health page of the control plane",
      );
    },
    close: () => http.close(),
  };
}

/**
 * A path with ids in their places.
 *
 * @returns a failure when a part is no id: it would lead the path elsewhere, or could not be sent
 */
export function pathTo(parts: TemplateStringsArray, ...ids: string[]): Outcome<string> {
  const odd = ids.find((id) => !isId(id));
  if (odd !== undefined) {
    const said = JSON.stringify(cutText(odd, 60));
    const message = `${said} is not a valid id: expected 1 to 255 visible ASCII characters, and neither "." nor ".."`;
    return fail(terminal("refused", message));
  }
  return ok(String.raw(parts, ...ids.map(encodeURIComponent)));
}

/** Needs a key and no id, and every valid key may. */
const allowedToAll = "/v1/approvals?limit=1";

/**
 * A 403 may mean this run or this key. Where the control plane answers a call that every valid key may make with 403
 * too, it is the key's; where it takes that call, it is this call's own; where it gives no answer, nobody can tell.
 */
function tellForbidden(http: ControlPlaneHttp): ControlPlaneApi["call"] {
  return async (request, signal) => {
    const answer = await http.call(request, signal);
    if (answer.ok || answer.failure.kind !== "forbidden") return answer;
    const { failure } = answer;
    // POLICY_BLOCKED and BUDGET_EXCEEDED say it themselves.
    if (failure.details?.["code"] !== "FORBIDDEN") return answer;
    const keys = { ...failure, kind: "unauthorized" } as const;
    if (request.path === allowedToAll) return fail(keys);
    const probe = await http.call({ method: "GET", path: allowedToAll }, signal);
    if (probe.ok) return answer;
    const { kind, message, retryAfterMs } = probe.failure;
    if (kind === "forbidden" || kind === "unauthorized") return fail(keys);
    if (kind === "cancelled") return probe;
    const unclear = `${failure.message}; can't tell whether the key or only this call is refused: ${message}`;
    return fail(retryable("unavailable", unclear, retryAfterMs));
  };
}
