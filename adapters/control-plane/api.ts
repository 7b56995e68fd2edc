import { type } from "arktype";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import {
  type ApprovalView,
  approvalView,
  type RunView,
  runView,
  type StepView,
  stepView,
} from "../../machines/contracts/wire/views.ts";
import { checked } from "./client.ts";
import { type ControlPlaneHttp, createHttp, type HttpOptions } from "./http.ts";

/** An agent as `GET /v1/registry/agents` lists it, extra keys passed over. */
export const agentView = type({
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
});
export type AgentView = typeof agentView.infer;

const healthView = type({ status: "string", "version?": "string", "extensions?": "string[]" });
export type HealthView = typeof healthView.infer;

const runPage = type({ runs: runView.array(), total: "number" });
export type RunPage = typeof runPage.infer;

const stepList = stepView.array();
const approvalList = approvalView.array();
const agentList = agentView.array();

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
  /** The pending ones. */
  approvals(limit: number, signal: AbortSignal): Promise<Outcome<ApprovalView[]>>;
  resolveApproval(
    id: string,
    approved: boolean,
    note: string | null,
    signal: AbortSignal,
  ): Promise<Outcome<ApprovalView>>;
  agents(projectId: string, signal: AbortSignal): Promise<Outcome<AgentView[]>>;
  /** Needs no key. */
  health(signal: AbortSignal): Promise<Outcome<HealthView>>;
  close(): Promise<void>;
}

/**
 * A client of the control plane's HTTP API, with one pool of kept-alive connections.
 *
 * @throws TypeError when the URL is not HTTP or the key could not be sent in a header
 */
export function createControlPlaneApi(options: HttpOptions): ControlPlaneApi {
  return controlPlaneApi(createHttp(options));
}

/** The same over a transport that the caller made: the simulator's, in virtual time. */
export function controlPlaneApi(http: ControlPlaneHttp): ControlPlaneApi {
  const get = (path: string, signal: AbortSignal) => http.call({ method: "GET", path }, signal);
  return {
    http,
    async createRun({ agentId, input, config, steps }, signal) {
      const body = {
        agent_id: agentId,
        input,
        ...(config === undefined ? {} : { config }),
        ...(steps === undefined ? {} : { steps }),
      };
      const answer = await http.call({ method: "POST", path: "/v1/runs", body }, signal);
      return checked(answer, runView, "run");
    },
    async run(runId, signal) {
      return checked(await get(runPath(runId), signal), runView, "run");
    },
    async runs(projectId, limit, offset, signal) {
      const query = new URLSearchParams({
        project_id: projectId,
        limit: String(limit),
        offset: String(offset),
      });
      return checked(await get(`/v1/runs?${query}`, signal), runPage, "list of runs");
    },
    async cancel(runId, signal) {
      const path = `${runPath(runId)}/cancel`;
      return checked(await http.call({ method: "POST", path }, signal), runView, "run");
    },
    async steps(runId, signal) {
      return checked(await get(`${runPath(runId)}/steps`, signal), stepList, "list of steps");
    },
    async approvals(limit, signal) {
      const answer = await get(`/v1/approvals?limit=${limit}`, signal);
      return checked(answer, approvalList, "list of approvals");
    },
    async resolveApproval(id, approved, note, signal) {
      const path = `/v1/approvals/${encodeURIComponent(id)}`;
      const body = note === null ? { approved } : { approved, note };
      return checked(
        await http.call({ method: "PUT", path, body }, signal),
        approvalView,
        "approval",
      );
    },
    async agents(projectId, signal) {
      const query = new URLSearchParams({ project_id: projectId });
      return checked(await get(`/v1/registry/agents?${query}`, signal), agentList, "agent list");
    },
    async health(signal) {
      return checked(await get("/health", signal), healthView, "health");
    },
    close: () => http.close(),
  };
}

const runPath = (runId: string) => `/v1/runs/${encodeURIComponent(runId)}`;
