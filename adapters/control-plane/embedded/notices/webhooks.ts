import { createHmac } from "node:crypto";
import type { Approval } from "../documents.ts";
import type { Change } from "../changes/change.ts";
import { newId, seedIds } from "../documents.ts";
import type { NoticeKind } from "./tables.ts";

/** Where people are told of questions. */
export interface Webhook {
  /** In the audit and the log; the address may be a secret and is in neither. */
  name: string;
  /** Whose questions it hears of, by id or slug; absent for those of the operator's own tenant. */
  tenant?: string;
  url: string;
  /** Signs what is sent; null to send it unsigned, as Slack takes it. */
  secret: string | null;
  /**
   * The API key as which whoever opens a link answers: its roles are theirs, and where four eyes are asked for it must
   * be another than started the run. Null for nobody in particular, who answers no question of a role or four eyes.
   */
  keyId: string | null;
}

export interface NoticeSettings {
  webhooks: readonly Webhook[];
  /** Where people's browsers find this control plane; null for its own address. */
  publicUrl: string | null;
  /** How long before a question closes people are reminded of it, milliseconds. */
  remindBeforeMs: number;
}

/** Tells every webhook of a question, now and shortly before it closes. In the transaction that puts it. */
export function addNotices(
  { notices, now, store }: Pick<Change, "notices" | "now" | "store">,
  { webhooks, remindBeforeMs }: NoticeSettings,
  approval: Pick<Approval, "id" | "tenantId" | "expiresAt">,
  kind: NoticeKind,
): void {
  const reminder = approval.expiresAt - remindBeforeMs;
  for (const { name: webhook, tenant } of webhooks) {
    const heard = tenant === undefined ? seedIds.tenant : store.tenants.find(tenant)?.id;
    if (heard !== approval.tenantId) continue;
    const told = { webhook, approvalId: approval.id };
    notices.add({ ...told, id: newId("msg", now), kind, due: now });
    if (reminder <= now) continue;
    const later = { kind: "approval.reminder", due: reminder } as const;
    notices.add({ ...told, id: newId("msg", now), ...later });
  }
}

/**
 * The signature of Standard Webhooks 1.0.0 (standardwebhooks.com): `v1,` and the base64 of HMAC-SHA256 over id, time and
 * body. A secret that begins with `whsec_` is base64, as that specification writes it; any other is taken as it stands.
 *
 * @param timestamp seconds since the epoch
 */
export function signature(secret: string, id: string, timestamp: number, body: string): string {
  const key = secret.startsWith("whsec_")
    ? Buffer.from(secret.slice("whsec_".length), "base64")
    : Buffer.from(secret);
  const mac = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest("base64");
  return `v1,${mac}`;
}
