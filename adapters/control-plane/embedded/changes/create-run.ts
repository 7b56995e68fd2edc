import {
  isJsonObject,
  jsonDepth,
  type Json,
  type JsonObject,
} from "../../../../machines/contracts/domain/json.ts";
import { stepInputProblem } from "../../../../machines/contracts/domain/step-input.ts";
import { maxJobDepth, type StepType } from "../../../../machines/contracts/domain/job.ts";
import { ApiError } from "../routes/request.ts";
import { type AgentVersion, type Run, type Step, newId, seedIds } from "../documents.ts";
import { refuseSpentUp } from "../spending.ts";
import type { Rows } from "../rows.ts";
import type { Change } from "./change.ts";

export interface PlannedStep {
  type: StepType;
  input: JsonObject;
  name: string | null;
  onError: "fail" | "continue";
}

/** Where a run stands in a trace: its jobs carry both ids, so that its steps are one tree on every worker. */
export interface RunTrace {
  traceId: string;
  spanId: string;
  /** No request named it: whether it is sampled is decided as for a root, by each who has a part in it. */
  isRoot?: true;
}

export interface RunRequest {
  /** Id or slug. */
  agent: string;
  /** Null for the latest. */
  version: string | null;
  input: Json;
  config: JsonObject | null;
  /** Null for FerrumDeck's ordinary run of one `llm` step. */
  steps: PlannedStep[] | null;
  trace: RunTrace;
}

/**
 * A run with all its steps, the first of them enqueued.
 *
 * @throws ApiError 404 for an unknown agent or version, 400 without versions, 422 for an unusable input, 403 where the
 *   agent's or the tenant's budget is spent
 */
export function createRun(change: Change, request: RunRequest): Run {
  const { now, store } = change;
  const version = findVersion(store, request.agent, request.version);
  const fresh = newRun(change, version, request, newId("run", now));
  refuseSpentUp(change, fresh);
  const run = change.saveRun(fresh);
  const planned = request.steps ?? [ordinaryStep(request.input)];
  const steps = planned.map((plan, at) => ownStep(run, version, plan, at + 1, now));
  for (const step of steps) store.steps.put(step);
  const [first] = steps;
  if (first === undefined) throw new ApiError(422, "steps: expected at least one");
  change.enqueue(run, first);
  change.audit(run.id, "run.created", { agent_id: run.agentId, agent_version_id: version.id });
  return run;
}

/** A run before its first step. */
export function newRun(
  { now, store, by }: Change,
  version: AgentVersion,
  request: Pick<RunRequest, "input" | "config" | "trace">,
  id: string,
): Run {
  return {
    id,
    tenantId: version.tenantId,
    projectId: store.agents.find(version.agentId)?.projectId ?? seedIds.project,
    agentId: version.agentId,
    agentVersionId: version.id,
    status: "queued",
    statusReason: null,
    input: request.input,
    config: request.config,
    output: null,
    error: null,
    inputTokens: 0,
    outputTokens: 0,
    toolCalls: 0,
    costMicros: 0,
    traceId: request.trace.traceId,
    spanId: request.trace.spanId,
    ...(request.trace.isRoot === true ? { isTraceRoot: true } : {}),
    createdAt: now,
    createdBy: by,
    startedAt: null,
    completedAt: null,
    waitingSince: null,
    waitedMs: 0,
  };
}

/** @throws ApiError 404 for an unknown agent or version, 400 for an agent without any */
export function findVersion(store: Rows, agentKey: string, versionId: string | null): AgentVersion {
  const agent = store.agents.find(agentKey);
  if (agent === undefined) throw new ApiError(404, `agent "${agentKey}" not found`);
  if (versionId === null) {
    const latest = store.versions.current(agent);
    if (latest === undefined) throw new ApiError(400, `Agent has no versions: "${agentKey}"`);
    return latest;
  }
  const version = store.versions.find(versionId);
  if (version?.agentId !== agent.id) {
    throw new ApiError(404, `agent "${agentKey}" has no version "${versionId}"`);
  }
  return version;
}

/** The agent's model stands; a caller who asks for another one must hear of it, and not get this one in silence. */
function refuseOtherModel(
  { model }: AgentVersion,
  { type, input }: PlannedStep,
  number: number,
): void {
  const asked = input["model"];
  if (type !== "llm" || model === null || asked === undefined || asked === model) return;
  throw new ApiError(
    422,
    `step ${number}: model: the agent uses ${JSON.stringify(model)}; leave model out, or submit to an agent with another one`,
  );
}

/** FerrumDeck drops an input that is no object; a plain text is clearly the task. */
function ordinaryStep(input: Json): PlannedStep {
  const object = typeof input === "string" ? { task: input } : input;
  if (!isJsonObject(object)) throw new ApiError(422, "input: expected an object or a text");
  return { type: "llm", input: object, name: null, onError: "fail" };
}

function ownStep(run: Run, version: AgentVersion, plan: PlannedStep, number: number, now: number) {
  refuseOtherModel(version, plan, number);
  const input = jobInput(version, plan.type, plan.input);
  if (jsonDepth(input, maxJobDepth) > maxJobDepth) {
    throw new ApiError(
      422,
      `step ${number}: the input is nested deeper than ${maxJobDepth} levels`,
    );
  }
  const problem = stepInputProblem(plan.type, input);
  if (problem !== null) throw new ApiError(422, `step ${number}: ${problem.message}`);
  return newStep(run, plan, input, number, now);
}

/** A step before its job is enqueued; `jobInput` is what its worker gets. */
export function newStep(
  run: Run,
  plan: PlannedStep,
  input: JsonObject,
  number: number,
  now: number,
): Step {
  const { tool_name: toolName, model } = input;
  return {
    id: newId("stp", now),
    tenantId: run.tenantId,
    runId: run.id,
    number,
    name: plan.name,
    type: plan.type,
    status: "pending",
    input: plan.input,
    jobInput: input,
    onError: plan.onError,
    output: null,
    error: null,
    toolName: plan.type === "tool" && typeof toolName === "string" ? toolName : null,
    model: plan.type === "llm" && typeof model === "string" ? model : null,
    inputTokens: null,
    outputTokens: null,
    costMicros: null,
    createdAt: now,
    enqueuedAt: null,
    startedAt: null,
    completedAt: null,
    fence: 0,
    reportKey: null,
    reportDigest: null,
  };
}

/**
 * The input of a step's job: the caller's own, with the agent version's settings where the step's type has a
 * use for them. FerrumDeck lets the caller override all of them; here system prompt, model and tools are the
 * version's, and the caller's only where the version has none. Fewer tools than the version's may be asked for.
 */
export function jobInput(version: AgentVersion, type: StepType, input: JsonObject): JsonObject {
  const tools = narrowed(version, input);
  if (type === "tool") return tools === null ? input : { ...input, allowed_tools: tools };
  if (type !== "llm") return input;
  return {
    model_params: version.modelParams,
    ...input,
    ...(version.systemPrompt === null ? {} : { system_prompt: version.systemPrompt }),
    ...(version.model === null ? {} : { model: version.model }),
    ...(tools === null ? {} : { allowed_tools: tools }),
  };
}

/**
 * The input of a workflow's step: its own, over the agent version's settings, which stand where the definition says
 * nothing. Of tools it has no more than the version lists. A run may name one model for all of its steps.
 */
export function workflowInput(
  version: AgentVersion,
  { config }: Pick<Run, "config">,
  type: StepType,
  input: JsonObject,
): JsonObject {
  if (type !== "tool" && type !== "llm") return input;
  const tools = narrowed(version, input);
  const listed = tools === null ? {} : { allowed_tools: tools };
  if (type === "tool") return { ...input, ...listed };
  const { modelParams, systemPrompt, model } = version;
  const asked = config?.["model"];
  return {
    model_params: modelParams,
    ...(systemPrompt === null ? {} : { system_prompt: systemPrompt }),
    ...(model === null ? {} : { model }),
    ...input,
    ...(typeof asked === "string" ? { model: asked } : {}),
    ...listed,
  };
}

/** The tools that a step asks for, as far as its agent's version lists them; all of those where it asks for none. */
function narrowed(version: AgentVersion, input: JsonObject): Json[] | null {
  const usable = usableTools(version);
  const own = Array.isArray(input["allowed_tools"]) ? input["allowed_tools"] : null;
  if (usable === null) return own;
  return own?.filter((tool) => usable.includes(String(tool))) ?? usable;
}

/** Tools the agent may at least ask for: a tool that needs approval must be offered to be asked about. */
function usableTools(version: AgentVersion): string[] | null {
  const { allowedTools, approvalRequiredTools, deniedTools } = version;
  if (allowedTools === null && approvalRequiredTools.length === 0) return null;
  const named = new Set([...(allowedTools ?? []), ...approvalRequiredTools]);
  return [...named].filter((tool) => !deniedTools.includes(tool));
}
