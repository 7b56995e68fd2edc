import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import { isJsonObject, type JsonObject } from "../../../../machines/contracts/domain/json.ts";
import type { ToolPair } from "../../../../machines/contracts/domain/tool-lists.ts";
import type { SchemasApart } from "../../../../machines/contracts/ports/schema-checker.ts";
import type { Approval, ApprovalTerms } from "../documents.ts";
import { ApiError } from "../routes/request.ts";
import type { Change } from "./change.ts";
import { judge } from "./check-tool.ts";
import { argumentProblem, isTool, schemaProblem } from "../response-level.ts";
import type { Rows } from "../rows.ts";

/*
 * A yes to a call with other arguments than were asked about. It is a new verdict: policy is asked anew, for the edited
 * call, and its terms bind whoever says the yes beside those of the question. What was approved has a digest of its own,
 * made as the worker makes it; by that digest a worker that knows of no edits takes the yes for another action's, and
 * calls nothing.
 */

export interface Edit {
  input: JsonObject;
  /** What is wrong with it by the tool's schema, as it is registered, or else as its worker told; null for nothing. */
  drift: string | null;
}

export interface Edited {
  input: JsonObject;
  /** Of the edited action: what the yes is bound to. */
  digest: string;
}

/** An edit of an approval's arguments, held to the schema of what it calls: before the change, which waits for nothing. */
export async function editOf(
  { schemas, rows }: { schemas: SchemasApart | null; rows: Rows },
  approvalId: string,
  input: JsonObject,
): Promise<Edit> {
  const approval = rows.approvals.find(approvalId);
  const run = approval && rows.runs.find(approval.runId);
  const call = approval && callOf(approval);
  if (!run || !call) return { input, drift: null };
  const registry = rows.tools.of(run);
  const { tenantId, inputSchema = null } = approval;
  const told = inputSchema === null ? [] : [{ tenantId, inputSchema }];
  const isRegistered = registry.some((tool) => isTool(tool, call));
  return {
    input,
    drift: isRegistered
      ? await schemaProblem(schemas, registry, { ...call, input })
      : await argumentProblem(schemas, told, input),
  };
}

/** The tool that is asked about; null where it is none that our worker named. */
function callOf({ runId, stepId, actionType, actionDetails, digest }: Approval): ToolPair | null {
  const details = isJsonObject(actionDetails) ? actionDetails : {};
  const { name, server } = details;
  const isAction = actionDigest(runId, stepId, details) === digest;
  if (actionType !== "tool" || typeof name !== "string" || !isAction) return null;
  return { name, server: typeof server === "string" ? server : null };
}

/** The digest that a worker binds a yes to: this action, in this step, and nothing else. */
const actionDigest = (runId: string, stepId: string, action: JsonObject): string =>
  createHash("sha256")
    .update(stringify({ runId, stepId, action }) ?? "null")
    .digest("hex");

/**
 * @returns the edit, and on whose terms it is approved; no terms where no policy has any
 * @throws ApiError 409 where it is no call whose arguments can be edited, 403 where policy denies the edited call, 422
 *   where its arguments break the tool's schema
 */
export function editCall(
  change: Change,
  approval: Approval,
  { input, drift }: Edit,
): { edited: Edited; terms: ApprovalTerms | null } {
  const { store, now } = change;
  const { id, runId, stepId, actionDetails } = approval;
  const run = store.runs.find(runId);
  const version = run === undefined ? undefined : store.versions.find(run.agentVersionId);
  if (run === undefined || version === undefined) {
    throw new ApiError(409, `approval ${id}: its run's agent version is gone`);
  }
  const tool = callOf(approval);
  if (tool === null) {
    const why = "only a tool call that our worker asked about can be edited";
    throw new ApiError(409, `approval ${id}: ${why}; reject it with a note instead`);
  }
  const call = { ...tool, input };
  const { said, byPolicy } = judge(store, version, { tool: call, tenant: run.tenantId, at: now });
  if (said.kind === "deny") {
    throw new ApiError(403, `approval ${id}: the edited call is denied: ${said.reason}`);
  }
  if (drift !== null) {
    const why = `input: ${drift}, by the schema that the tool has`;
    throw new ApiError(422, `${why}; approval ${id} is still open`);
  }
  const { id: policyId, name: policyName, approval: asks } = byPolicy.decidedBy?.policy ?? {};
  const terms =
    policyId === undefined || policyName === undefined || !asks
      ? null
      : { policyId, policyName, role: asks.role ?? null, fourEyes: asks.four_eyes ?? false };
  const action = { ...(isJsonObject(actionDetails) ? actionDetails : {}), input };
  return { edited: { input, digest: actionDigest(runId, stepId, action) }, terms };
}
