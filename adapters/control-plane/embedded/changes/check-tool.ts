import { createHash } from "node:crypto";
import type { Json } from "../../../../machines/contracts/domain/json.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { type Verdict, verdict } from "../../../../machines/contracts/domain/action.ts";
import { type Run, newId } from "../documents.ts";
import type { Store } from "../store.ts";
import type { Change } from "./change.ts";
import { findRun } from "./submit-result.ts";
import { markStarted } from "./run-state.ts";

const events = { allow: "policy.allowed", ask: "policy.approval_required", deny: "policy.denied" };

/**
 * Decides one tool call by the lists of the run's agent version, and keeps the decision: the input only as its
 * SHA-256, since it may hold anything. Unlike FerrumDeck's, a denial leaves the run alive.
 *
 * @throws ApiError 404 for an unknown run
 */
export function checkTool(
  change: Change,
  runId: string,
  tool: { name: string; input: Json },
): Verdict & { decisionId: string } {
  const { now, store } = change;
  const run = findRun(store, runId);
  const decided = { ...decide(store, run, tool.name), decisionId: newId("pdc", now) };
  if (!isRunEnded(run.status)) {
    const current = store.steps.ofRun(run.id).find((step) => !isStepEnded(step.status));
    const started = markStarted(change, run, current);
    if (decided.kind === "allow") {
      change.saveRun({ ...started, toolCalls: started.toolCalls + 1 });
    }
  }
  change.audit(run.id, events[decided.kind], {
    decision_id: decided.decisionId,
    tool_name: tool.name,
    tool_input_sha256: createHash("sha256").update(JSON.stringify(tool.input)).digest("hex"),
    reason: decided.reason,
  });
  return decided;
}

function decide(store: Store, run: Run, tool: string): Verdict {
  if (isRunEnded(run.status)) return verdict.deny(`the run is already ${run.status}`);
  const version = store.versions.find(run.agentVersionId);
  return version === undefined
    ? verdict.deny("the run's agent version is gone")
    : decideTool(version, tool);
}

export interface ToolLists {
  allowedTools: readonly string[] | null;
  approvalRequiredTools: readonly string[];
  deniedTools: readonly string[];
}

/** What an agent version's own lists say of a tool: denied over approval required over allowed over deny. */
export function decideTool(lists: ToolLists, tool: string): Verdict {
  const named = `tool "${tool}"`;
  if (lists.deniedTools.includes(tool)) return verdict.deny(`${named} is denied to this agent`);
  if (lists.approvalRequiredTools.includes(tool)) {
    return verdict.ask(`${named} needs a person's approval`);
  }
  if (lists.allowedTools?.includes(tool)) return verdict.allow(`${named} is allowed to this agent`);
  return verdict.deny(`${named} is not on this agent's lists`);
}
