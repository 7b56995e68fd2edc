import { createHash } from "node:crypto";
import { isJsonObject } from "../../../../machines/contracts/domain/json.ts";
import { cutText } from "../../../../machines/contracts/domain/text.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { ApiError } from "../routes/request.ts";
import { type Approval, newId } from "../documents.ts";
import type { Caller } from "../keys.ts";
import type { Change } from "./change.ts";
import { type Edit, editCall, type Edited } from "./edit-approval.ts";
import { refuseAnswer, refuseCallTooMany, termsOf } from "./approval-terms.ts";
import { findStep } from "./submit-result.ts";
import { closeApproval } from "./run-state.ts";

const dayMs = 24 * 60 * 60 * 1000;
/** Ten years: a time beyond what RFC 3339 can write is none. */
export const longestOpenMs = 3_650 * dayMs;

export interface ApprovalRequest extends Pick<
  Approval,
  "runId" | "stepId" | "actionType" | "actionDetails" | "digest" | "reason" | "inputSchema"
> {
  /** Null for the agent version's, or a day. */
  expiresInMs: number | null;
}

/**
 * Puts a question to people. The same question of the same step (by its digest) is the same approval, whatever
 * became of it.
 *
 * @throws ApiError 404, 400 when run and step do not go together, 409 when either has ended
 */
export function requestApproval(
  change: Change,
  request: ApprovalRequest,
): { approval: Approval; created: boolean } {
  const { now, store } = change;
  const { run, step } = findStep(store, request.runId, request.stepId);
  const known = store.approvals.findByAction(step.id, request.digest);
  if (known !== undefined) return { approval: known, created: false };
  if (isRunEnded(run.status)) throw new ApiError(409, `run ${run.id} is already ${run.status}`);
  if (isStepEnded(step.status))
    throw new ApiError(409, `step ${step.id} is already ${step.status}`);
  const { expiresInMs, ...asked } = request;
  const version = store.versions.find(run.agentVersionId);
  const { terms, withinMs } = termsOf(change, run, request);
  const wanted = expiresInMs ?? version?.approvalExpiresInMs ?? dayMs;
  const openMs = Math.min(wanted, withinMs, longestOpenMs);
  const approval: Approval = {
    id: newId("apr", now),
    tenantId: run.tenantId,
    ...asked,
    status: "pending",
    createdAt: now,
    askedBy: change.by,
    terms: terms && { ...terms, handWithinMs: openMs },
    expiresAt: now + openMs,
    resolvedBy: null,
    resolvedAt: null,
    note: null,
  };
  store.approvals.put(approval);
  store.steps.put({ ...step, status: "waiting_approval", startedAt: step.startedAt ?? now });
  const startedAt = run.startedAt ?? now;
  const waiting = change.saveRun({ ...run, status: "waiting_approval", startedAt });
  change.workflows?.asked(change, waiting, step, false);
  const { id, actionType, actionDetails, digest, reason } = approval;
  change.audit(run.id, "approval.requested", {
    approval_id: id,
    action_type: actionType,
    ...nameOf(approval),
    digest,
    // What people are shown may hold anything, and is kept with the question: the chain holds it to its hash.
    shown_sha256: sha256(JSON.stringify([actionType, actionDetails, reason])),
    expires_at: new Date(approval.expiresAt).toISOString(),
    ...(terms && { policy_id: terms.policyId, role: terms.role, four_eyes: terms.fourEyes }),
  });
  change.tellOf(approval, "approval.requested");
  return { approval, created: true };
}

/** The name of the tool that is asked about, for who reads the chain; the rest is in the question. */
function nameOf({ actionType, actionDetails }: Approval): { tool_name?: string } {
  const { name } = isJsonObject(actionDetails) ? actionDetails : {};
  return actionType === "tool" && typeof name === "string" ? { tool_name: cutText(name, 255) } : {};
}

/** Whoever edits has made the call a request of their own: where four eyes are asked for, another key says yes to that. */
function edit(
  change: Change,
  approval: Approval,
  given: Edit,
  answer: { approved: boolean; caller: Caller },
): Edited {
  if (!answer.approved) throw new ApiError(422, "input: expected only with a yes");
  const { edited, terms } = editCall(change, approval, given);
  for (const each of [approval.terms, terms]) {
    refuseAnswer(change, { ...approval, terms: each ?? null }, answer);
    if (!each?.fourEyes) continue;
    const message = `by policy "${each.policyName}" nobody approves a request of their own, and an edited call is its editor's: reject it with a note instead`;
    throw new ApiError(403, message);
  }
  return edited;
}

/**
 * A person's answer, taken once. Either way the step's job is enqueued again, so that a worker goes on with it
 * or ends it.
 *
 * @throws ApiError 404 for an unknown approval, 400 for one that is resolved or expired, 403 where its terms do not let
 *   this caller answer; of an edit also 409 and 422, see `edit-approval.ts`
 */
export function resolveApproval(
  change: Change,
  id: string,
  answer: { approved: boolean; note: string | null; edit?: Edit | null; caller: Caller },
): Approval {
  const { now, store } = change;
  const approval = store.approvals.find(id);
  if (approval === undefined) throw new ApiError(404, `approval ${id} not found`);
  const late = approval.status === "pending" && approval.expiresAt <= now;
  if (late || approval.status === "expired") {
    throw new ApiError(400, `approval ${id} has expired`);
  }
  if (approval.status !== "pending") {
    throw new ApiError(400, `approval ${id} is already resolved: ${approval.status}`);
  }
  // Of a run that had very many questions, this one is still to be closed.
  if (isRunEnded(store.runs.find(approval.runId)?.status ?? "running"))
    throw new ApiError(400, `approval ${id} has expired: its run has ended`);
  refuseAnswer(change, approval, answer);
  if (answer.approved && approval.actionType === "tool") refuseCallTooMany(change, approval);
  const edited = answer.edit == null ? null : edit(change, approval, answer.edit, answer);
  const status = answer.approved ? "approved" : "rejected";
  const { note } = answer;
  const resolved: Approval = {
    ...approval,
    status,
    note,
    resolvedAt: now,
    resolvedBy: change.by,
    ...(edited === null ? {} : { edited }),
  };
  store.approvals.put(resolved);
  if (answer.approved) stopWaiting(change, approval.runId, approval.stepId);
  const { run, step } = findStep(store, approval.runId, approval.stepId);
  change.enqueue(run, step);
  if (answer.approved && approval.actionType === "tool") {
    change.saveRun({ ...run, toolCalls: run.toolCalls + 1 });
  }
  change.audit(run.id, `approval.${status}`, {
    approval_id: id,
    resolved_by: change.by,
    note,
    ...(edited !== null && {
      edited_digest: edited.digest,
      edited_input_sha256: sha256(JSON.stringify(edited.input)),
    }),
  });
  return resolved;
}

/**
 * Approvals whose time has come. Their steps go on showing `waiting_approval`, for nobody said yes, and are enqueued
 * again, so that a worker reads what became of the question and ends them.
 */
export function expireDue(change: Change): void {
  const { store } = change;
  for (const approval of store.approvals.due(change.now)) {
    const isOver = isRunEnded(store.runs.find(approval.runId)?.status ?? "running");
    if (!isOver && handOver(change, approval)) continue;
    closeApproval(change, approval, "expired");
    const { run, step } = findStep(store, approval.runId, approval.stepId);
    if (step.status === "waiting_approval") change.enqueue(run, step);
  }
}

/** Nobody answered in time: where its policy names another role, that one is asked, for as long again. */
function handOver(change: Change, approval: Approval): boolean {
  const { now, store } = change;
  const { terms } = approval;
  const [role, ...handTo] = terms?.handTo ?? [];
  if (!terms || role === undefined || terms.handWithinMs === undefined) return false;
  const expiresAt = now + terms.handWithinMs;
  const handed: Approval = { ...approval, expiresAt, terms: { ...terms, role, handTo } };
  store.approvals.put(handed);
  change.audit(approval.runId, "approval.handed_over", {
    approval_id: approval.id,
    from_role: terms.role,
    role,
    expires_at: new Date(expiresAt).toISOString(),
  });
  change.tellOf(handed, "approval.handed_over");
  return true;
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

/** A question of the step got its yes: when all have theirs, step and run show `running` again. */
function stopWaiting(change: Change, runId: string, stepId: string): void {
  const { store } = change;
  const missing = store.approvals.ofStep(stepId).some(({ status }) => status !== "approved");
  const step = store.steps.find(stepId);
  if (missing || step?.status !== "waiting_approval") return;
  store.steps.put({ ...step, status: "running" });
  const run = store.runs.find(runId);
  if (run !== undefined && step.workflow !== undefined)
    return void change.workflows?.asked(change, run, step, true);
  const others = store.steps.waiting(runId, -1, 1).length > 0;
  if (run?.status === "waiting_approval" && !others) change.saveRun({ ...run, status: "running" });
}
