import { type } from "arktype";
import { once } from "../domain/once.ts";
import type { Verdict } from "../domain/action.ts";
import type { JsonObject } from "../domain/json.ts";

/** The control plane's answer to `POST /v1/runs/{id}/check-tool`. */
const answer = once(() =>
  type({
    allowed: "boolean",
    "requires_approval?": "boolean",
    "decision_id?": "string",
    "reason?": "string | null",
    "blocked_by_airlock?": "boolean",
    "violation_type?": "string | null",
    "violation_details?": "string | null",
    "risk_score?": "number",
    "risk_level?": "string",
    "shadow_mode?": "boolean",
    // FerrumDeck from 0.6 and 0.7.2 on; kept for log, span and report, decided by nothing.
    "response_level?": "unknown",
    "reversibility?": "unknown",
    "decision_trace?": "unknown",
    // Our own control plane: the limit of the run's budget that the call would pass.
    "budget_exceeded?": type({ limit: "string", used: "number", most: "number" }).or("null"),
  }),
);

/** What is kept beside the verdict, under the names of the wire. */
const keptKeys = [
  "risk_score",
  "risk_level",
  "violation_type",
  "violation_details",
  "blocked_by_airlock",
  "shadow_mode",
  "response_level",
  "reversibility",
  "decision_trace",
  "budget_exceeded",
] as const;

/**
 * Turns the answer into a verdict. Deny is the strongest word: a call that Airlock blocked is denied even
 * when approval is asked for too; and `allowed: false` denies unless approval is all that is missing.
 *
 * @returns a message naming what was wrong when the answer is not of the contract's shape
 */
export function readCheckToolAnswer(body: unknown): Verdict | string {
  const read = answer()(body);
  if (read instanceof type.errors) return `check-tool gave an unexpected answer: ${read.summary}`;
  const violation = [read.violation_type, read.violation_details].filter(Boolean).join(": ");
  const reason = read.reason || violation || "no reason given";
  const kind = verdictKind(
    read.allowed,
    read.requires_approval === true,
    read.blocked_by_airlock === true,
  );
  // A risk of nothing is in every answer.
  const isClean = !read.violation_type && read.blocked_by_airlock !== true;
  const kept = keptKeys.filter((key) => {
    const isOfViolation = key.startsWith("risk_") || key.startsWith("violation_");
    const value = read[key];
    return value !== undefined && value !== null && value !== false && !(isClean && isOfViolation);
  });
  return {
    kind,
    reason,
    ...(read.decision_id === undefined ? {} : { decisionId: read.decision_id }),
    ...(kept.length === 0
      ? {}
      : { details: Object.fromEntries(kept.map((key) => [key, read[key]])) as JsonObject }),
  };
}

function verdictKind(allowed: boolean, asks: boolean, blocked: boolean): Verdict["kind"] {
  if (blocked) return "deny";
  if (asks) return "ask";
  return allowed ? "allow" : "deny";
}
