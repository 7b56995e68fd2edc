import { type } from "arktype";
import { type Context, Hono } from "hono";
import {
  type ApprovalStatus,
  approvalStatuses,
} from "../../../../machines/contracts/domain/status.ts";
import { isJsonObject, type JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { callerOf } from "./access.ts";
import { ApiError, asJson, objectShape, readBody, readPage, rfc3339 } from "./request.ts";
import { requestApproval, resolveApproval } from "../changes/approvals.ts";
import type { Plane } from "../changes/change.ts";
import { editOf } from "../changes/edit-approval.ts";
import { type Approval, seedIds } from "../documents.ts";

const thirtyDaysMs = 2_592_000_000;
const text = "0 < string <= 255";
export const question = type({
  run_id: text,
  step_id: text,
  action_type: text,
  "action_details?": "unknown",
  digest: text,
  reason: "string <= 4096",
  /** What the arguments of the tool must be that is asked about: what an edit of them is held to. */
  "input_schema?": objectShape.or("null"),
  "expires_in_ms?": type(`0 < number.integer <= ${thirtyDaysMs} | null`),
});
export const answer = type({
  approved: "boolean",
  "note?": "string <= 4096 | null",
  /** The arguments to call the tool with, in place of those that were asked about. */
  "input?": objectShape.or("null"),
});

/** `/v1/approvals`: what people are asked, and their answers. */
export function approvalRoutes({ apply, rows, schemas }: Plane): Hono {
  const app = new Hono();
  // A key of another tenant's has no name here.
  const namesOf = (c: Context): KeyNames => {
    const { keys } = rows(c);
    return (id) => {
      if (id === seedIds.key) return "the first key";
      return id === null || id === undefined ? null : (keys.find(id)?.name ?? null);
    };
  };
  app.get("/", (c) => {
    const status = readStatus(c.req.query("status"));
    const found = rows(c).approvals.list(
      status,
      c.req.query("run_id") ?? null,
      readPage(c, 50, 1000),
    );
    return c.json(found.map((approval) => approvalResponse(approval, namesOf(c))));
  });
  app.post("/", async (c) => {
    const body = await readBody(c, question);
    const request = {
      runId: body.run_id,
      stepId: body.step_id,
      actionType: body.action_type,
      actionDetails: asJson(body.action_details),
      digest: body.digest,
      reason: body.reason,
      expiresInMs: body.expires_in_ms ?? null,
      ...(body.input_schema == null ? {} : { inputSchema: body.input_schema as JsonObject }),
    };
    const { approval, created } = await apply(
      (change) => requestApproval(change, request),
      callerOf(c),
    );
    return c.json(approvalResponse(approval, namesOf(c)), created ? 201 : 200);
  });
  app.get("/count", (c) => c.json({ pending: rows(c).approvals.countPending() }));
  app.get("/:id", (c) => {
    const id = c.req.param("id");
    const approval = rows(c).approvals.find(id);
    if (approval === undefined) throw new ApiError(404, `approval ${id} not found`);
    return c.json(approvalResponse(approval, namesOf(c)));
  });
  app.put("/:id", async (c) => {
    const { approved, note, input: edited } = await readBody(c, answer);
    const input = asJson(edited);
    if (input !== null && !isJsonObject(input))
      throw new ApiError(422, "input: expected an object");
    const id = c.req.param("id");
    const edit = input === null ? null : await editOf({ schemas, rows: rows(c) }, id, input);
    const given = { approved, note: note ?? null, edit, caller: callerOf(c) };
    const approval = await apply((change) => resolveApproval(change, id, given), callerOf(c));
    return c.json(approvalResponse(approval, namesOf(c)));
  });
  return app;
}

/** Which approvals are listed: the open ones, as FerrumDeck does, unless another status, or `all`, is asked for. */
function readStatus(asked = "pending"): ApprovalStatus | null {
  if (asked === "all") return null;
  const status = approvalStatuses.find((known) => known === asked);
  if (status !== undefined) return status;
  throw new ApiError(422, `status: expected ${approvalStatuses.join(", ")} or all`);
}

/** What people call a key; null where it has no name, or none that may be told here. */
type KeyNames = (id: string | null | undefined) => string | null;

/** ApprovalResponse, with the digest of what was shown. */
function approvalResponse(approval: Approval, nameOf: KeyNames) {
  return {
    id: approval.id,
    run_id: approval.runId,
    step_id: approval.stepId,
    action_type: approval.actionType,
    action_details: approval.actionDetails,
    digest: approval.edited?.digest ?? approval.digest,
    // Of a yes to other arguments, `digest` is what was approved.
    asked_digest: approval.digest,
    edited_input: approval.edited?.input ?? null,
    reason: approval.reason,
    status: approval.status,
    created_at: rfc3339(approval.createdAt),
    expires_at: rfc3339(approval.expiresAt),
    resolved_by: approval.resolvedBy,
    resolved_by_name: nameOf(approval.resolvedBy),
    resolved_at: rfc3339(approval.resolvedAt),
    resolution_note: approval.note,
    asked_by: approval.askedBy ?? null,
    asked_by_name: nameOf(approval.askedBy),
    policy_id: approval.terms?.policyId ?? null,
    role: approval.terms?.role ?? null,
    four_eyes: approval.terms?.fourEyes ?? false,
    hand_to: approval.terms?.handTo ?? [],
  };
}
