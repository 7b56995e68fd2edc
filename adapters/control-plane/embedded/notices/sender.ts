import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../../../machines/contracts/ports/clock.ts";
import type { Apply } from "../changes/change.ts";
import { system } from "../changes/change.ts";
import type { Store } from "../store.ts";
import { createAlarm } from "../workflows/alarm.ts";
import { mintLink } from "./links.ts";
import { payload } from "./payload.ts";
import type { Notice } from "./tables.ts";
import { type NoticeSettings, signature, type Webhook } from "./webhooks.ts";

/** Carries notices from their table to the webhooks. */
export interface NoticeSender {
  /** There may be something to send. Returns at once. */
  kick(): void;
  /** Waits (two seconds at most) for what is being sent; what is left is sent after the next start. */
  close(): Promise<void>;
}

/** To one webhook. */
const atOnce = 8;
const requestMs = 10_000;
const closeMs = 2_000;
const firstPauseMs = 2_000;
const longestPauseMs = 10 * 60_000;

/**
 * Sends what is due, and tries again with growing pauses, over restarts, for as long as the question is open. A step
 * waits for none of it. What was sent and crashed before it was noted is sent again under the same `webhook-id`.
 */
export function createNoticeSender(
  parts: { store: Store; apply: Apply; now: () => number; log: Log },
  settings: NoticeSettings & { publicUrl: string },
): NoticeSender {
  const { store, apply, now, log } = parts;
  const closing = new AbortController();
  /** One a webhook: none of them waits for another. */
  const lanes = new Map<string, { running: Promise<void> | null; again: boolean }>();
  const kick = () => {
    if (closing.signal.aborted) return;
    for (const webhook of store.notices.webhooks()) {
      const lane = lanes.get(webhook) ?? { running: null, again: false };
      lanes.set(webhook, lane);
      lane.again = true;
      lane.running ??= sendDue(webhook, lane);
    }
    const due = store.notices.firstDue();
    // Looked at again soon enough, whatever the clock was set to meanwhile.
    if (due !== null) alarm.set(Math.min(due, now() + longestPauseMs));
  };
  const alarm = createAlarm(now, kick);

  async function sendDue(
    webhook: string,
    lane: { running: unknown; again: boolean },
  ): Promise<void> {
    while (lane.again && !closing.signal.aborted) {
      lane.again = false;
      try {
        const due = store.notices.due(webhook, now(), longestPauseMs, atOnce);
        await Promise.all(due.map(send));
        lane.again ||= due.length === atOnce;
      } catch (error) {
        if (!closing.signal.aborted) log.error({ err: error }, "notices could not be sent or kept");
        alarm.set(now() + firstPauseMs);
      }
    }
    lane.running = null;
    if (closing.signal.aborted) return;
    const due = store.notices.firstDue();
    if (due !== null) alarm.set(Math.min(due, now() + longestPauseMs));
  }

  async function send(notice: Notice): Promise<void> {
    const webhook = settings.webhooks.find(({ name }) => name === notice.webhook);
    const prepared = await apply((change) => {
      const approval = store.approvals.find(notice.approvalId);
      const isOpen = approval?.status === "pending" && approval.expiresAt > change.now;
      if (webhook === undefined || approval === undefined || !isOpen) {
        store.notices.drop(notice.id);
        return null;
      }
      // Kept before it is sent, so that no link that is out opens nothing; put off first, so that none is sent twice at once.
      store.notices.putOff(notice.id, change.now + pauseMs(notice.tries));
      const run = store.runs.find(approval.runId);
      const agent = run === undefined ? null : (store.agents.find(run.agentId)?.slug ?? null);
      const link = mintLink(change, settings, webhook, approval);
      return { approval, link, run, agent, at: change.now };
    }, system);
    if (prepared === null || webhook === undefined) return;
    const { approval, link, run, agent, at } = prepared;
    // No part of the transaction: what is asked may be long.
    const body = JSON.stringify(payload(notice, { approval, run, agent }, link, at));
    const problem = await post(webhook, notice.id, body);
    if (closing.signal.aborted) return;
    const said = { webhook: webhook.name, approvalId: notice.approvalId, messageId: notice.id };
    if (problem !== null) {
      const retryInMs = pauseMs(notice.tries);
      log.warn({ ...said, problem, retryInMs }, "a webhook could not be told of an approval");
      return;
    }
    await apply((change) => {
      store.notices.drop(notice.id);
      change.audit(approval.runId, "approval.notified", {
        approval_id: approval.id,
        webhook: webhook.name,
        kind: notice.kind,
        message_id: notice.id,
        has_link: link !== null,
        answers_as: link === null ? null : (webhook.keyId ?? `link:${webhook.name}`),
      });
    }, system);
    log.info({ ...said, kind: notice.kind }, "a webhook was told of an approval");
  }

  /** Null when it was taken; else why not, without the address, which may be a secret. */
  async function post({ url, secret }: Webhook, id: string, body: string): Promise<string | null> {
    const timestamp = Math.floor(now() / 1_000);
    try {
      const response = await fetch(url, {
        method: "POST",
        redirect: "manual",
        body,
        headers: {
          "content-type": "application/json",
          "user-agent": "stateplane",
          "webhook-id": id,
          "webhook-timestamp": String(timestamp),
          ...(secret === null
            ? {}
            : { "webhook-signature": signature(secret, id, timestamp, body) }),
        },
        signal: AbortSignal.any([closing.signal, AbortSignal.timeout(requestMs)]),
      });
      await response.body?.cancel();
      return response.ok ? null : `it answered ${response.status}`;
    } catch (error) {
      const { name, cause } = error instanceof Error ? error : { name: "error", cause: null };
      const code = cause instanceof Error && "code" in cause ? String(cause.code) : name;
      return `it can't be reached (${code})`;
    }
  }

  return {
    kick,
    async close() {
      closing.abort();
      alarm.close();
      const running = [...lanes.values()].map((lane) => lane.running);
      await Promise.race([Promise.all(running), sleep(closeMs, undefined, { ref: false })]);
    },
  };
}

/** Until the next try, after so many before this one. */
const pauseMs = (tries: number): number =>
  Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(tries, 30));
