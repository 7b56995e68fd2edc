import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import { isJsonObject, type JsonObject } from "../../../../machines/contracts/domain/json.ts";
import type { Approval, ApprovalTerms } from "../documents.ts";
import { ApiError } from "../routes/request.ts";
import type { Change } from "./change.ts";
import { judge } from "./check-tool.ts";
import { schemaProblem } from "../response-level.ts";

/*
 * A yes to a call with other arguments than were asked about. It is a new verdict: policy is asked anew, for the edited
 * call, and its terms bind whoever says the yes beside those of the question. What was approved has a digest of its own,
 * made as the worker makes it; by that digest a worker that knows of no edits takes the yes for another action's, and
 * calls nothing.
 */

export interface Edited {
  input: JsonObject;
  /** Of the edited action: what the yes is bound to. */
  digest: string;
}

/** The digest that a worker binds a yes to: this action, in this step, and nothing else. */
const actionDigest = (runId: string, stepId: string, action: JsonObject): string =>
  createHash("sha256")
    .update(stringify({ runId, stepId, action }) ?? "null")
    .digest("hex");

/**
 * @returns the edit, and on whose terms it is approved; no terms where no policy has any
 * @throws ApiError 409 where it is no call whose arguments can be edited, 403 where policy denies the edited call, 422
 *   where its arguments break the schema that the tool is registered with
 */
export function editCall(
  change: Change,
  { id, runId, stepId, actionType, actionDetails, digest }: Approval,
  input: JsonObject,
): { edited: Edited; terms: ApprovalTerms | null } {
  const { store, now } = change;
  const run = store.runs.find(runId);
  const version = run === undefined ? undefined : store.versions.find(run.agentVersionId);
  if (run === undefined || version === undefined) {
    throw new ApiError(409, `approval ${id}: its run's agent version is gone`);
  }
  const details = isJsonObject(actionDetails) ? actionDetails : {};
  const { name, server } = details;
  const isAction = actionDigest(runId, stepId, details) === digest;
  if (actionType !== "tool" || typeof name !== "string" || !isAction) {
    const why = "only a tool call that our worker asked about can be edited";
    throw new ApiError(409, `approval ${id}: ${why}; reject it with a note instead`);
  }
  const call = { name, server: typeof server === "string" ? server : null, input };
  const { said, byPolicy } = judge(store, version, { tool: call, tenant: run.tenantId, at: now });
  if (said.kind === "deny") {
    throw new ApiError(403, `approval ${id}: the edited call is denied: ${said.reason}`);
  }
  const problem = schemaProblem(change.schemas, store.tools.of(run), call);
  if (problem !== null) {
    const why = `input: ${problem}, by the schema that the tool is registered with`;
    throw new ApiError(422, `${why}; approval ${id} is still open`);
  }
  const { id: policyId, name: policyName, approval } = byPolicy.decidedBy?.policy ?? {};
  const terms =
    policyId === undefined || policyName === undefined || !approval
      ? null
      : {
          policyId,
          policyName,
          role: approval.role ?? null,
          fourEyes: approval.four_eyes ?? false,
        };
  const action = { ...details, input };
  return { edited: { input, digest: actionDigest(runId, stepId, action) }, terms };
}
