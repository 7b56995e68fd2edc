import { brokenLimit, nothingSpent } from "../../../../machines/contracts/domain/budget.ts";
import { isJsonObject } from "../../../../machines/contracts/domain/json.ts";
import { ApiError } from "../routes/request.ts";
import type { Approval, ApprovalTerms, Run } from "../documents.ts";
import { type Caller, hasRole } from "../keys.ts";
import { brokenBudgets } from "../spending.ts";
import type { Change } from "./change.ts";
import { judge } from "./check-tool.ts";
import { budgetOf } from "./reservations.ts";

/**
 * The terms of the policy that decides a call, looked up here: whoever asks can't choose on which terms. They stay as they
 * were when the question was put.
 */
export function termsOf(
  { store, now }: Change,
  run: Run,
  { actionType, actionDetails }: Pick<Approval, "actionType" | "actionDetails">,
): { terms: ApprovalTerms | null; withinMs: number } {
  const none = { terms: null, withinMs: Number.POSITIVE_INFINITY };
  const version = store.versions.find(run.agentVersionId);
  const isOfTool = actionType === "tool" || actionType === "repeat";
  if (!isOfTool || version === undefined || !isJsonObject(actionDetails)) return none;
  const { name, server, input } = actionDetails;
  if (typeof name !== "string") return none;
  const tool = {
    name,
    server: typeof server === "string" ? server : null,
    input: isJsonObject(input) ? input : {},
  };
  const { decidedBy } = judge(store, version, { tool, tenant: run.tenantId, at: now }).byPolicy;
  const { id, name: policyName, approval } = decidedBy?.policy ?? {};
  if (id === undefined || policyName === undefined || !approval) return none;
  const {
    role = null,
    four_eyes: fourEyes = false,
    expires_in_ms,
    hand_to: handTo = [],
  } = approval;
  return {
    terms: { policyId: id, policyName, role, fourEyes, handTo },
    withinMs: expires_in_ms ?? Number.POSITIVE_INFINITY,
  };
}

/** A no to a request of one's own only takes it back, so four eyes are needed for a yes alone. */
export function refuseAnswer(
  { store }: Change,
  { runId, askedBy, terms }: Approval,
  { approved, caller }: { approved: boolean; caller: Caller },
): void {
  if (!terms) return;
  const by = `policy "${terms.policyName}"`;
  if (terms.role !== null && !hasRole(caller, terms.role)) {
    throw new ApiError(403, `by ${by} only a key with the role "${terms.role}" answers this`);
  }
  const own = [askedBy, store.runs.find(runId)?.createdBy];
  if (approved && terms.fourEyes && own.includes(caller.id)) {
    throw new ApiError(403, `by ${by} nobody approves a request of their own: another key has to`);
  }
}

/** A yes counts as the call: one more than the budgets hold would be denied after all, and the others with it. */
export function refuseCallTooMany(change: Change, { id, runId }: Approval): void {
  const run = change.store.runs.find(runId);
  if (run === undefined) return;
  const own = budgetOf(run, change.store.versions.find(run.agentVersionId)?.budget);
  const broken =
    brokenLimit(
      { max_tool_calls: own.max_tool_calls },
      { ...nothingSpent, toolCalls: run.toolCalls + 1 },
    ) ?? brokenBudgets(change, run, { toolCalls: 1 });
  if (broken === null) return;
  const message = `approval ${id}: ${broken.message}, with this call; reject it, or raise the budget`;
  throw new ApiError(403, message, "BUDGET_EXCEEDED");
}
