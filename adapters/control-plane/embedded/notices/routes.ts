import { type } from "arktype";
import { type Context, Hono } from "hono";
import { isJsonObject, type Json } from "../../../../machines/contracts/domain/json.ts";
import { createRates, tooMany } from "../routes/access.ts";
import { readBody, rfc3339 } from "../routes/request.ts";
import { type WholePlane } from "../changes/change.ts";
import type { Approval } from "../documents.ts";
import { hashOf } from "../keys.ts";
import { answerByLink, callerByLink, findByLink } from "./links.ts";
import { linkPage, linkPageHeaders } from "./page.ts";
import { actionLabel, isShownWhole, shownDetails, visible } from "./payload.ts";

const token = "0 < string <= 255";
export const linkToken = type({ token });
export const linkAnswer = type({ token, approved: "boolean", "note?": "string <= 4096 | null" });

/** Many more than a person makes. */
const callsAMinute = 60;

/**
 * `/answer`: the page that a link opens, and its two calls. A GET says nothing and decides nothing.
 *
 * A link's calls are counted for itself, and not for the key that it answers as: whoever has the link could use up what
 * that key may call, and keep its owner out.
 */
export function answerRoutes({ apply, store, now, notices }: WholePlane): Hono {
  const app = new Hono();
  const known = () => ({ store, notices: store.notices, now: now() });
  const waitMs = createRates(now);
  const opened = (c: Context, given: string) => {
    const found = findByLink(known(), given);
    const wait = waitMs({ id: hashOf(given), perMinute: callsAMinute });
    if (wait > 0) throw tooMany(c, `a link may make ${callsAMinute} calls a minute`, wait);
    return found;
  };
  app.get("/", (c) => c.html(linkPage, 200, { ...linkPageHeaders }));
  app.post("/look", async (c) => {
    const { token: given } = await readBody(c, linkToken);
    const { link, approval } = opened(c, given);
    // Whoever may answer it no more may not look at it either.
    callerByLink(known(), notices.webhooks, link, approval);
    const run = store.runs.find(approval.runId);
    const agent = run === undefined ? null : (store.agents.find(run.agentId)?.slug ?? null);
    return c.json(questionResponse(approval, agent), 200, closed);
  });
  app.post("/", async (c) => {
    const body = await readBody(c, linkAnswer);
    const { link, approval } = opened(c, body.token);
    const caller = callerByLink(known(), notices.webhooks, link, approval);
    const given = { token: body.token, approved: body.approved, note: body.note ?? null };
    const answered = await apply((change) => answerByLink(change, notices, given), caller);
    return c.json(questionResponse(answered, null), 200, closed);
  });
  return app;
}

const closed = { "cache-control": "no-store", "referrer-policy": "no-referrer" };

/** What the page shows. Of a question that is answered only what became of it. */
function questionResponse(approval: Approval, agent: string | null) {
  const { status, runId, reason, expiresAt, terms, resolvedBy, note } = approval;
  const isOpen = status === "pending";
  return {
    status,
    action: actionLabel(approval),
    reason: visible(reason),
    agent,
    run_id: runId,
    expires_at: rfc3339(expiresAt),
    role: terms?.role ?? null,
    resolved_by: resolvedBy,
    resolution_note: note,
    approval_id: approval.id,
    is_whole: isShownWhole(approval),
    parts: isOpen ? partsOf(shownDetails(approval)) : [],
  };
}

interface Part {
  name: string;
  text: string;
  is_diff: boolean;
}

/** An argument each; what replaces something, and what is a diff already, as one. */
export function partsOf(details: Json): Part[] {
  const input = isJsonObject(details) ? (details["input"] ?? details) : details;
  if (!isJsonObject(input)) return [part("arguments", input)];
  const change = replaced(input);
  const rest = Object.entries(input).filter(([name]) => change?.names.includes(name) !== true);
  return [
    ...rest.map(([name, value]) => part(name, value)),
    ...(change === null ? [] : [shownPart("change", change.text, true)]),
  ];
}

function part(name: string, value: Json): Part {
  const edits = Array.isArray(value) ? value.map(editText) : [];
  if (edits.length > 0 && edits.every((edit) => edit !== null)) {
    return shownPart(name, edits.join("\n\n"), true);
  }
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return shownPart(name, text, /^(?:diff --git |@@ -\d|--- \S.*\n\+\+\+ )/mu.test(text));
}

/** One of several edits: what it changes, below all else that it says. */
function editText(edit: Json): string | null {
  const change = isJsonObject(edit) ? replaced(edit) : null;
  if (change === null) return null;
  const others = Object.entries(edit as Record<string, Json>)
    .filter(([name]) => !change.names.includes(name))
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}\n`);
  return `${others.join("")}${change.text}`;
}

const shownPart = (name: string, text: string, isDiff: boolean): Part => ({
  name: visible(name),
  text: visible(text),
  is_diff: isDiff,
});

/** The pairs of names under which editing tools take what was there and what is to be there. */
const pairs = [
  ["oldText", "newText"],
  ["old_text", "new_text"],
  ["old_string", "new_string"],
  ["old_str", "new_str"],
  ["before", "after"],
] as const;

function replaced(input: Record<string, Json>): { names: readonly string[]; text: string } | null {
  for (const names of pairs) {
    const [before, after] = names.map((name) => input[name]);
    if (typeof before === "string" && typeof after === "string") {
      return { names, text: diffOf(before, after) };
    }
  }
  return null;
}

/** What both begin and end with, once; the rest as it was and as it is to be. */
function diffOf(before: string, after: string): string {
  const [old, fresh] = [before, after].map((text) => (text === "" ? [] : text.split("\n"))) as [
    string[],
    string[],
  ];
  const most = Math.min(old.length, fresh.length);
  let head = 0;
  while (head < most && old[head] === fresh[head]) head += 1;
  let tail = 0;
  while (tail < most - head && old.at(-1 - tail) === fresh.at(-1 - tail)) tail += 1;
  const signed = (sign: string, lines: string[]) => lines.map((line) => `${sign}${line}`);
  return [
    ...signed(" ", old.slice(0, head)),
    ...signed("-", old.slice(head, old.length - tail)),
    ...signed("+", fresh.slice(head, fresh.length - tail)),
    ...signed(" ", old.slice(old.length - tail)),
  ].join("\n");
}
