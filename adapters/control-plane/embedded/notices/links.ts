import { randomBytes } from "node:crypto";
import { ApiError } from "../routes/request.ts";
import type { Approval } from "../documents.ts";
import { type Caller, hashOf, may, mayReachAll } from "../keys.ts";
import { resolveApproval } from "../changes/approvals.ts";
import type { Change } from "../changes/change.ts";
import { isShownWhole } from "./payload.ts";
import type { SentLink } from "./tables.ts";
import type { NoticeSettings, Webhook } from "./webhooks.ts";

/*
 * The token of a link is the credential of whoever opens it: 256 random bits, of which only the SHA-256 is kept. It opens
 * one question, until that closes. It stands behind the `#` of the address: browsers send that part to nobody, so no
 * proxy, log or Referer has it, and a scanner that fetches the address sees an empty page. The page sends it in the body
 * of a POST.
 *
 * Who opens it answers as the webhook's key, under the same rules as with that key itself; without a key, as the webhook,
 * which has no role and is nobody's second pair of eyes.
 */

/** A new link to a question; null where nobody who opens it could answer. */
export function mintLink(
  { notices, now }: Pick<Change, "notices" | "now">,
  { publicUrl }: { publicUrl: string },
  webhook: Webhook,
  approval: Approval,
): string | null {
  if (!mayEverAnswer(webhook, approval)) return null;
  const token = randomBytes(32).toString("base64url");
  notices.dropLinks(now);
  notices.addLink(hashOf(token), {
    approvalId: approval.id,
    webhook: webhook.name,
    expiresAt: approval.expiresAt,
  });
  return `${publicUrl.replace(/\/+$/u, "")}/answer#${token}`;
}

/** Nobody in particular has no role, and may be the one who asked. */
const mayEverAnswer = ({ keyId }: Webhook, { terms }: Approval): boolean =>
  keyId !== null || !terms || (terms.role === null && !terms.fourEyes);

/** @throws ApiError 404 for a link that is none, or no more */
export function findByLink(
  { store, notices, now }: Pick<Change, "store" | "notices" | "now">,
  token: string,
): { link: SentLink; approval: Approval } {
  const link = notices.link(hashOf(token));
  const approval = link === undefined ? undefined : store.approvals.find(link.approvalId);
  if (link === undefined || approval === undefined || link.expiresAt <= now) {
    throw new ApiError(404, "this link is not known, or has expired");
  }
  return { link, approval };
}

/** The answer of whoever opened a link, asked for by {@link callerByLink}. @throws ApiError as {@link resolveApproval} does */
export function answerByLink(
  change: Change,
  { webhooks }: Pick<NoticeSettings, "webhooks">,
  given: { token: string; approved: boolean; note: string | null },
): Approval {
  const { link, approval } = findByLink(change, given.token);
  const caller = callerByLink(change, webhooks, link, approval);
  const { approved, note } = given;
  if (approved && !isShownWhole(approval)) {
    const message = `this page does not show all that is asked, so it takes no yes: look at it with stateplane approvals list --json, and approve it with stateplane approvals approve ${approval.id}`;
    throw new ApiError(422, message);
  }
  change.audit(approval.runId, "approval.link_used", {
    approval_id: approval.id,
    webhook: link.webhook,
    answers_as: caller.id,
    approved,
  });
  return resolveApproval(change, approval.id, { approved, note, caller });
}

/** @throws ApiError 403 where the webhook, or its key, is there no more */
export function callerByLink(
  { store, now }: Pick<Change, "store" | "now">,
  webhooks: readonly Webhook[],
  { webhook: name }: Pick<SentLink, "webhook">,
  { tenantId }: Pick<Approval, "tenantId">,
): Caller {
  const webhook = webhooks.find((known) => known.name === name);
  if (webhook === undefined) {
    throw new ApiError(
      403,
      `this link was sent to the webhook "${name}", which is configured no more`,
    );
  }
  const { keyId } = webhook;
  if (keyId === null) return { id: `link:${name}`, tenantId, scopes: ["approve"] };
  const key = store.keys.find(keyId);
  const isOpen =
    key?.revokedAt === null &&
    (key.expiresAt === null || key.expiresAt > now) &&
    (mayReachAll(key) || key.tenantId === tenantId) &&
    may(key, "approve");
  if (key !== undefined && isOpen) return key;
  throw new ApiError(403, `this link answers as key ${keyId}, which may answer nothing (any more)`);
}
