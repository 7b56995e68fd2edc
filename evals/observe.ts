import { type } from "arktype";
import { checked } from "../adapters/control-plane/answer.ts";
import { type ControlPlaneApi, pathTo } from "../adapters/control-plane/api.ts";
import { ok, type Outcome } from "../machines/contracts/domain/failure.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../machines/contracts/domain/json.ts";
import type { RunView, StepView } from "../machines/contracts/wire/views.ts";
import type { Observation, ObservedCall } from "./contracts.ts";
import { answersIn } from "./scorers/output.ts";

export type Gathered = Omit<Observation, "duration_ms">;

const microsPerCent = 10_000;
const auditPage = 1_000;
const auditList = type({ event: "string", "details?": "unknown" }).array();

/** All that the control plane can tell of a run: by its id, or as it was seen when it had ended. */
export async function gather(
  api: ControlPlaneApi,
  of: string | RunView,
  signal: AbortSignal,
  statesOf: (stepId: string) => Observation["steps"][number]["states"] = () => [],
): Promise<Outcome<Gathered>> {
  const run = typeof of === "string" ? await api.run(of, signal) : ok(of);
  if (!run.ok) return run;
  const runId = run.value.id;
  const steps = await api.steps(runId, signal);
  if (!steps.ok) return steps;
  const audit = await auditOf(api, runId, signal);
  const calls = callsOf(steps.value, audit);
  const output = toJson(run.value.output);
  const made = requestIn(calls, output);
  return ok({
    run_id: runId,
    run_status: run.value.status,
    output,
    steps: steps.value.map((step) => toStep(step, statesOf(step.id))),
    calls,
    audit,
    usage: usageOf(run.value, steps.value, calls),
    ...(made === null ? {} : { pull_request: made }),
  });
}

/** A control plane that knows no offset gives its first page for ever. */
const mostAudited = 20_000;

/** Empty where the control plane shows none, or not to this key. */
async function auditOf(api: ControlPlaneApi, runId: string, signal: AbortSignal) {
  const path = pathTo`/v1/runs/${runId}/audit`;
  if (!path.ok) return [];
  const entries: JsonObject[] = [];
  for (let offset = 0; offset < mostAudited; offset += auditPage) {
    const page = `${path.value}?limit=${auditPage}&offset=${offset}`;
    const answer = await api.call({ method: "GET", path: page }, signal);
    const read = checked(answer, auditList, "list of audit entries");
    if (!read.ok) return entries;
    entries.push(...(read.value as JsonObject[]));
    if (read.value.length < auditPage) break;
  }
  return entries;
}

const toJson = (value: unknown): Json => (value ?? null) as Json;

function toStep(step: StepView, states: Observation["steps"][number]["states"]) {
  const { id, name, step_type, status, output, error } = step;
  const failure = failureOf(step);
  return {
    id,
    ...(name ? { name } : {}),
    type: step_type,
    status,
    states,
    ...(output === undefined || output === null ? {} : { output: toJson(output) }),
    ...(failure === null
      ? typeof error === "string"
        ? { error: { message: error } }
        : {}
      : { error: failure }),
  };
}

const failureOf = ({ error }: Pick<StepView, "error">): JsonObject | null =>
  isJsonObject(error) ? error : null;

/** The decisions of policy on the tools of a step, in order, and what people said. */
function decisionsOf(audit: readonly JsonObject[], stepId: string) {
  const decided = {
    "policy.allowed": "allow",
    "policy.approval_required": "ask",
    "policy.denied": "deny",
  };
  return audit.flatMap(({ event, details, created_at: at }) => {
    const verdict = decided[String(event) as keyof typeof decided] as
      | ObservedCall["verdict"]
      | undefined;
    if (verdict === undefined || !isJsonObject(details) || details["step_id"] !== stepId) return [];
    return [{ verdict, tool: String(details["tool_name"]), server: details["server"], at }];
  });
}

function callsOf(steps: readonly StepView[], audit: readonly JsonObject[]): ObservedCall[] {
  const rejected = new Set(
    audit
      .filter(({ event }) => event === "approval.rejected" || event === "approval.expired")
      .map(({ details }) => (isJsonObject(details) ? details["approval_id"] : null)),
  );
  return steps.flatMap((step) => {
    const decisions = decisionsOf(audit, step.id);
    const details = failureOf(step)?.["details"];
    const told = [step.output, details].flatMap((said) =>
      isJsonObject(said) && Array.isArray(said["tool_calls"]) ? said["tool_calls"] : [],
    );
    if (told.length > 0)
      return told.filter((call) => isJsonObject(call)).map((call) => toldCall(call, rejected));
    const input = isJsonObject(step.input) ? step.input : {};
    const named = step.tool_name ?? input["tool_name"];
    if (typeof named === "string") return [stepsCall(step, named, input, decisions)];
    // A step that failed says little of its calls: what policy was asked is all there is.
    return decisions.map(({ verdict, tool, server, at }) => ({
      tool,
      ...(typeof server === "string" ? { server } : {}),
      arguments: null,
      verdict,
      outcome: verdict === "allow" ? ("ok" as const) : ("refused" as const),
      ...(typeof at === "string" ? { started_at: at } : {}),
    }));
  });
}

/** A call as the output of a step that asked a model tells it. */
function toldCall(call: JsonObject, rejected: ReadonlySet<unknown>): ObservedCall {
  const { tool_name: tool, server, decision, success, output_preview: result } = call;
  const verdict =
    // What a person answered was asked, whatever came of it.
    decision === "requires_approval" || typeof call["approval_id"] === "string"
      ? "ask"
      : decision === "allow"
        ? "allow"
        : "deny";
  const isRefused = verdict === "deny" || (verdict === "ask" && rejected.has(call["approval_id"]));
  const ms = call["duration_ms"];
  return {
    tool: String(tool),
    ...(typeof server === "string" ? { server } : {}),
    arguments: call["arguments"] ?? null,
    verdict,
    outcome: success === true ? "ok" : isRefused ? "refused" : "failed",
    ...(typeof result === "string" ? { result } : {}),
    ...(typeof ms === "number" ? { duration_ms: ms } : {}),
  };
}

const refusals = new Set(["policy_denied", "approval_rejected", "approval_expired", "forbidden"]);

/** The one call of a step that is a call. */
function stepsCall(
  step: StepView,
  named: string,
  input: JsonObject,
  decisions: ReturnType<typeof decisionsOf>,
): ObservedCall {
  const output = isJsonObject(step.output) ? step.output : {};
  const kind = String(failureOf(step)?.["kind"] ?? "");
  const asked = decisions.find(({ verdict }) => verdict === "ask");
  const [last] = decisions.slice(-1);
  const verdict = kind === "policy_denied" ? "deny" : (asked?.verdict ?? last?.verdict ?? "allow");
  const server = output["server"] ?? last?.server;
  return {
    tool: typeof output["tool"] === "string" ? output["tool"] : named,
    ...(typeof server === "string" ? { server } : {}),
    arguments: input["tool_input"] ?? {},
    verdict,
    outcome:
      step.status === "completed"
        ? "ok"
        : refusals.has(kind) || step.status === "skipped"
          ? "refused"
          : "failed",
    ...(output["result"] === undefined ? {} : { result: output["result"] }),
    ...(step.started_at ? { started_at: step.started_at } : {}),
  };
}

/** Micro-dollars; null where a model was asked whose price nobody knows. */
function usageOf(
  run: RunView,
  steps: readonly StepView[],
  calls: readonly ObservedCall[],
): Observation["usage"] {
  const isUnknown = steps.some(
    ({ output }) => isJsonObject(output) && output["cost_micros"] === null,
  );
  const { cost_micros: micros, cost_cents: cents } = run;
  const cost = micros ?? (typeof cents === "number" ? cents * microsPerCent : null);
  return {
    input_tokens: run.input_tokens ?? 0,
    output_tokens: run.output_tokens ?? 0,
    tool_calls: run.tool_calls ?? calls.length,
    cost_microusd: isUnknown || cost === null ? null : Math.round(cost),
  };
}

const opensRequest = /(?:create|open)_(?:pull_request|merge_request|pr)$/u;

/** The pull request that a call opened, or that the output names. */
function requestIn(
  calls: readonly ObservedCall[],
  output: Json,
): NonNullable<Observation["pull_request"]> | null {
  const call = calls.findLast(({ tool, outcome }) => outcome === "ok" && opensRequest.test(tool));
  const read = typeof call?.result === "string" ? parseJson(call.result) : null;
  const result = read?.ok === true ? read.value : (call?.result ?? null);
  const given = isJsonObject(call?.arguments) ? call.arguments : {};
  const named = answersIn(output).find(
    (answer) => isJsonObject(answer) && ("pr_url" in answer || "pr_number" in answer),
  );
  if (call === undefined && named === undefined) return null;
  const said = { ...(isJsonObject(named) ? named : {}), ...(isJsonObject(result) ? result : {}) };
  const url = said["pr_url"] ?? said["html_url"] ?? said["url"];
  const number = said["pr_number"] ?? said["number"];
  const title = given["title"] ?? said["pr_title"] ?? said["title"];
  const description =
    given["body"] ?? given["description"] ?? said["pr_description"] ?? said["body"];
  return {
    ...(typeof url === "string" ? { url } : {}),
    ...(typeof number === "number" ? { number } : {}),
    ...(typeof title === "string" ? { title } : {}),
    ...(typeof description === "string" ? { description } : {}),
  };
}

const passing = new Set(["unavailable", "rate_limited", "policy_unavailable"]);
const lasting = new Set([
  "unauthorized",
  "misconfigured",
  "corrupt_record",
  "delivered_too_often",
  "internal",
]);

/** Why a run that failed or was cancelled says nothing of its agent; null where it does. */
export function infrastructureTrouble({
  run_status: status,
  steps,
}: Pick<Observation, "run_status" | "steps">): { problem: string; mayPass: boolean } | null {
  // By whoever did it; what the eval itself cancelled is never asked about.
  if (status === "cancelled") return { problem: "somebody else cancelled the run", mayPass: false };
  if (status !== "failed") return null;
  for (const { error, id } of steps) {
    const kind = String(error?.["kind"] ?? "");
    if (passing.has(kind) || lasting.has(kind)) {
      const problem = `step ${id} failed as ${kind}: ${String(error?.["message"] ?? "")}`;
      return { problem, mayPass: passing.has(kind) };
    }
  }
  return null;
}
