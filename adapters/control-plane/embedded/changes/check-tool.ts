import { createHash } from "node:crypto";
import {
  isJsonObject,
  type Json,
  type JsonObject,
} from "../../../../machines/contracts/domain/json.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { stricter, type Verdict, verdict } from "../../../../machines/contracts/domain/action.ts";
import { type AgentVersion, type Run, type Step, newId, seedIds } from "../documents.ts";
import { responseLevel } from "../response-level.ts";
import {
  type Considered,
  evaluate,
  type Policy,
  type PolicyCall,
  type PolicyDecision,
} from "../policy.ts";
import { brokenBudgets } from "../spending.ts";
import type { Rows } from "../rows.ts";
import type { Change } from "./change.ts";
import {
  type Finding,
  isBlocking,
  reasonOf,
  toTrace,
  toViolation,
} from "../../../../machines/contracts/domain/airlock/inspect.ts";
import { inspect, type Inspected } from "./airlock.ts";
import { brokenLimit, readBudget } from "../../../../machines/contracts/domain/budget.ts";
import { resolveBudget } from "../budget.ts";
import { withHeld } from "./reservations.ts";
import { findRun } from "./submit-result.ts";
import { markStarted } from "./run-state.ts";
import {
  couldMean,
  isHeldBack,
  isListed,
  toolLabel,
  type ToolPair,
} from "../../../../machines/contracts/domain/tool-lists.ts";

const events = { allow: "policy.allowed", ask: "policy.approval_required", deny: "policy.denied" };

/**
 * Decides one tool call by the run's budget, the lists of its agent version and the project's policies, and keeps the decision: the input only as its
 * SHA-256, since it may hold anything. Unlike FerrumDeck's, a denial leaves the run alive.
 *
 * @throws ApiError 404 for an unknown run
 */
export function checkTool(
  change: Change,
  runId: string,
  tool: Call,
): Verdict & { decisionId: string } {
  const { now, store } = change;
  const found = findRun(store, runId);
  const step = stepOf(store, found, tool.callId);
  const inspected = isRunEnded(found.status) ? null : inspectedBy(change, found, tool);
  const run = inspected === null ? found : { ...found, recentCalls: inspected.recentCalls };
  const findings = inspected?.findings ?? [];
  const said = withViolation(decide(change, run, tool, step), findings);
  const decided = { ...said, decisionId: newId("pdc", now) };
  if (inspected !== null) change.saveRun(run);
  if (!isRunEnded(run.status)) {
    const current = step ?? store.steps.open(run.id)[0];
    const started = markStarted(change, run, current);
    if (decided.kind === "allow") {
      change.saveRun(counting(started, tool.callId));
    }
  }
  const named = {
    decision_id: decided.decisionId,
    ...(step !== undefined && { step_id: step.id }),
    tool_name: tool.name,
    server: tool.server,
    tool_input_sha256: createHash("sha256").update(JSON.stringify(tool.input)).digest("hex"),
  };
  if (findings.length > 0) {
    const violation = { ...toViolation(findings), findings: toTrace(findings) };
    change.audit(run.id, "airlock.violation_detected", { ...named, ...violation });
  }
  change.audit(run.id, events[decided.kind], {
    ...named,
    reason: decided.reason,
    ...(tool.provenance !== null && { provenance: tool.provenance }),
    ...decided.details,
  });
  return decided;
}

export type Call = ToolPair & {
  input: Json;
  callId: string | null;
  costCents: number;
  /** What is wrong with the arguments by the schema that the tool is registered with; null for nothing. */
  drift: string | null;
  provenance: JsonObject | null;
};

function inspectedBy({ airlock, now }: Change, run: Run, tool: Call): Inspected | null {
  if (airlock === null) return null;
  const input = isJsonObject(tool.input) ? tool.input : { "": tool.input };
  return inspect(airlock, run, { ...tool, input }, now);
}

/** What was decided, with what the Airlock found: what it blocks is denied, whatever policies say. */
function withViolation(said: Verdict, findings: readonly Finding[]): Verdict {
  const [worst] = findings;
  if (worst === undefined) return said;
  const trace = isJsonObject(said.details?.["decision_trace"])
    ? said.details["decision_trace"]
    : {};
  const details = {
    ...said.details,
    ...toViolation(findings),
    decision_trace: { ...trace, airlock: toTrace(findings) },
  };
  const blocks = isBlocking(worst) && said.kind !== "deny";
  return { ...(blocks ? verdict.deny(reasonOf(worst)) : said), details };
}

/** The step that makes the call, which our worker's names of calls begin with; undefined where they say nothing. */
function stepOf(store: Rows, run: Run, callId: string | null): Step | undefined {
  const [stepId = ""] = callId?.split("/") ?? [];
  const step = store.steps.find(stepId);
  return step?.runId === run.id && !isStepEnded(step.status) ? step : undefined;
}

function decide(change: Change, run: Run, tool: Call, step: Step | undefined): Verdict {
  const { store } = change;
  if (isRunEnded(run.status)) return verdict.deny(`the run is already ${run.status}`);
  const version = store.versions.find(run.agentVersionId);
  if (version === undefined) return verdict.deny("the run's agent version is gone");
  if (step?.workflow?.isStopping) return verdict.deny("the step was told to stop");
  const input = isJsonObject(tool.input) ? tool.input : {};
  const call = { server: tool.server, name: tool.name, input };
  const own = judge(store, version, { tool: call, tenant: run.tenantId, at: change.now }).said;
  const asks = step?.workflow?.asks;
  const said =
    asks && own.kind === "allow"
      ? { ...own, ...verdict.ask(asks.message ?? "the workflow wants a person's approval") }
      : own;
  if (said.kind === "deny") return said;
  // Before the call that would break it. A call that a person let through was counted then.
  const isCounted =
    isKnown(run, tool.callId) || (said.kind === "ask" && hasApproval(store, run, step));
  const after = withHeld(run, change.now);
  if (!isCounted) after.toolCalls += 1;
  const ofRun = brokenLimit(resolveBudget(readBudget(run.config), version.budget), after);
  const broken = ofRun ?? brokenBudgets(change, run, { toolCalls: isCounted ? 0 : 1 });
  if (broken === null) return said;
  const { limit, used, most } = broken;
  const message = ofRun === null ? broken.message : `the run's ${broken.message}`;
  return { ...verdict.deny(message), details: { budget_exceeded: { limit, used, most } } };
}

const traceOf = ({ policy: { id, name, priority }, effect }: Considered) => {
  return { id, name, priority, effect };
};

/**
 * What the agent version's lists, the project's policies and the registry's word on how hard the call is to take back
 * say of it, and the strictest of them.
 */
export function judge(
  store: Rows,
  version: AgentVersion,
  call: Omit<PolicyCall, "agent">,
): { said: Verdict; listed: Verdict; byPolicy: PolicyDecision } {
  const agent = store.agents.find(version.agentId);
  const project = agent?.projectId ?? seedIds.project;
  const place = { tenantId: version.tenantId, projectId: project };
  const listed = decideTool(version, call.tool);
  const ask = (policies: readonly Policy[]) =>
    evaluate(policies, { ...call, agent: agent?.slug ?? "" });
  const own = ask(store.policies.of(place));
  // Asked apart: no priority of a tenant's lifts what the operator says.
  const byPolicy =
    place.tenantId === seedIds.tenant ? own : bothDecide(ask(store.policies.ofOperator()), own);
  const { verdict: ofPolicy, decidedBy } = byPolicy;
  const level = responseLevel(store.tools.of(place), call.tool);
  // Of two alike the first is kept: the lists speak before the policies.
  const free = verdict.allow("");
  const said = stricter(level?.verdict ?? free, stricter(ofPolicy ?? free, listed));
  if (decidedBy === null && level === null) return { said, listed, byPolicy };
  const decided = decidedBy === null ? null : traceOf(decidedBy);
  const details = {
    ...(level !== null && { response_level: level.level, reversibility: level.reversibility }),
    decision_trace: { lists: listed.kind, policy: decided, level: level?.verdict.kind ?? null },
  };
  return { said: { ...said, details }, listed, byPolicy };
}

/** The stricter of two decisions; of two alike the one that says who may answer, or the first. */
function bothDecide(first: PolicyDecision, second: PolicyDecision): PolicyDecision {
  const considered = [...first.considered, ...second.considered];
  if (first.verdict === null) return { ...second, considered };
  if (second.verdict === null) return { ...first, considered };
  const isAlike = first.verdict.kind === second.verdict.kind;
  const isSecond = isAlike
    ? !first.decidedBy?.policy.approval && Boolean(second.decidedBy?.policy.approval)
    : stricter(first.verdict, second.verdict) === second.verdict;
  return { ...(isSecond ? second : first), considered };
}

const isKnown = ({ countedCalls = [] }: Run, callId: string | null): boolean =>
  callId !== null && countedCalls.includes(callId);

/** The run with one call more, unless it is one that was counted when it was looked at before. */
function counting(run: Run, callId: string | null): Run {
  if (isKnown(run, callId)) return run;
  const toolCalls = run.toolCalls + 1;
  if (callId === null) return { ...run, toolCalls };
  return { ...run, toolCalls, countedCalls: [...(run.countedCalls ?? []), callId] };
}

function hasApproval(store: Rows, run: Run, asking: Step | undefined): boolean {
  const steps = asking === undefined ? store.steps.open(run.id) : [asking];
  const open = steps.filter((step) => !isStepEnded(step.status));
  return open.some((step) =>
    store.approvals
      .ofStep(step.id)
      .some(({ actionType, status }) => actionType === "tool" && status === "approved"),
  );
}

export interface ToolLists {
  allowedTools: readonly string[] | null;
  approvalRequiredTools: readonly string[];
  deniedTools: readonly string[];
}

/**
 * What an agent version's own lists say of a tool: denied over approval required over allowed over deny. Of a name that
 * the caller has not resolved to a server, whatever it could mean is denied or asked about.
 */
export function decideTool(lists: ToolLists, tool: ToolPair): Verdict {
  const named = `tool "${toolLabel(tool)}"`;
  const call = { ...tool, input: null };
  const mayBeOn = (list: readonly string[]) =>
    isHeldBack(list, call) ||
    (tool.server === null && list.some((entry) => couldMean(entry, tool.name)));
  if (mayBeOn(lists.deniedTools)) return verdict.deny(`${named} is denied to this agent`);
  if (mayBeOn(lists.approvalRequiredTools))
    return verdict.ask(`${named} needs a person's approval`);
  return isListed(lists.allowedTools ?? [], call)
    ? verdict.allow(`${named} is allowed to this agent`)
    : verdict.deny(`${named} is not on this agent's lists`);
}
