import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../machines/contracts/domain/json.ts";
import type { StepView } from "../machines/contracts/wire/views.ts";
import type { Observation, ObservedCall } from "./contracts.ts";
import { answersIn } from "./scorers/output.ts";

/* The calls of tools that the steps of a run made, or were not let make, as its control plane tells of them. */

export const failureOf = ({ error }: Pick<StepView, "error">): JsonObject | null =>
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

/** @param audit null where the control plane shows none. @returns null where nobody can tell which calls there were */
export function callsOf(
  steps: readonly StepView[],
  audit: readonly JsonObject[] | null,
): ObservedCall[] | null {
  const calls: ObservedCall[] = [];
  for (const step of steps) {
    const own = callsOfStep(step, audit);
    if (own === null) return null;
    calls.push(...own);
  }
  return calls;
}

function callsOfStep(step: StepView, audit: readonly JsonObject[] | null): ObservedCall[] | null {
  const rejected = new Set(
    (audit ?? [])
      .filter(({ event }) => event === "approval.rejected" || event === "approval.expired")
      .map(({ details }) => (isJsonObject(details) ? details["approval_id"] : null)),
  );
  const decisions = decisionsOf(audit ?? [], step.id);
  const details = failureOf(step)?.["details"];
  const lists = [step.output, details].flatMap((said) =>
    isJsonObject(said) && Array.isArray(said["tool_calls"]) ? [said["tool_calls"]] : [],
  );
  const told = lists.flat();
  // Of a call that can't be read nobody can say which it was.
  if (step.step_type === "llm" && !told.every(isTold)) return null;
  if (told.length > 0) return told.filter(isTold).map((call) => toldCall(call, rejected));
  const input = isJsonObject(step.input) ? step.input : {};
  const named = step.tool_name ?? input["tool_name"];
  if (typeof named === "string") return [stepsCall(step, named, input, decisions)];
  // A step that failed says little of its calls: what policy was asked is all there is.
  const isSilent = step.status === "failed" && lists.length === 0;
  if (audit === null && isSilent && step.step_type === "llm") return null;
  return decisions.map(({ verdict, tool, server, at }) => ({
    tool,
    ...(typeof server === "string" ? { server } : {}),
    arguments: null,
    verdict,
    outcome: verdict === "allow" ? ("ok" as const) : ("refused" as const),
    ...(typeof at === "string" ? { started_at: at } : {}),
  }));
}

const isTold = (call: Json): call is JsonObject =>
  isJsonObject(call) && typeof call["tool_name"] === "string";

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

const opensRequest = /(?:create|open)_(?:pull_request|merge_request|pr)$/u;

/** The pull request that a call opened, or that the output names. */
export function requestIn(
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
