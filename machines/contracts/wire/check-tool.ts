import { type } from "arktype";
import type { Verdict } from "../domain/action.ts";

/** The control plane's answer to `POST /v1/runs/{id}/check-tool`. */
const answer = type({
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
});

/**
 * Turns the answer into a verdict. Deny is the strongest word: a call that Airlock blocked is denied even
 * when approval is asked for too; and `allowed: false` denies unless approval is all that is missing.
 *
 * @returns a message naming what was wrong when the answer is not of the contract's shape
 */
export function readCheckToolAnswer(body: unknown): Verdict | string {
  const read = answer(body);
  if (read instanceof type.errors) return `check-tool answered out of contract: ${read.summary}`;
  const violation = read.violation_type ? `${read.violation_type}: ${read.violation_details}` : "";
  const reason = read.reason || violation || "no reason given";
  const kind = verdictKind(
    read.allowed,
    read.requires_approval === true,
    read.blocked_by_airlock === true,
  );
  return read.decision_id === undefined
    ? { kind, reason }
    : { kind, reason, decisionId: read.decision_id };
}

function verdictKind(allowed: boolean, asks: boolean, blocked: boolean): Verdict["kind"] {
  if (blocked) return "deny";
  if (asks) return "ask";
  return allowed ? "allow" : "deny";
}
