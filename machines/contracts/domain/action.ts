import { type } from "arktype";
import type { JsonObject } from "./json.ts";

/** What policy says of one action, always with its reason. */
export const verdictShape = type({
  kind: "'allow' | 'ask' | 'deny'",
  reason: "string",
  "decisionId?": "string",
});
export type Verdict = typeof verdictShape.infer;

const allow = (reason: string): Verdict => ({ kind: "allow", reason });
const ask = (reason: string): Verdict => ({ kind: "ask", reason });
const deny = (reason: string): Verdict => ({ kind: "deny", reason });

export const verdict = { allow, ask, deny };

/**
 * One thing a step wants to do to the outside world, as policy and people see it. Its digest is the
 * SHA-256 of exactly this, canonically written: a grant for one action is no grant for another.
 */
export const actionShape = type({
  kind: "'tool' | 'model' | 'sandbox' | 'retrieval' | 'approval' | 'repeat'",
  /** The tool's name, the model's, the sandbox language, ... */
  name: "string",
  input: "object",
});
export interface Action {
  kind: "tool" | "model" | "sandbox" | "retrieval" | "approval" | "repeat";
  name: string;
  input: JsonObject;
}

/** A question to a person: may this action, with this digest, be done? */
export const askShape = type({
  digest: "string",
  action: actionShape,
  reason: "string",
  /** Null until the control plane has the question. */
  approvalId: "string | null",
  /** Epoch milliseconds; null until the control plane has the question, or when it never expires. */
  expiresAt: "number | null",
});
export interface Ask {
  digest: string;
  action: Action;
  reason: string;
  approvalId: string | null;
  expiresAt: number | null;
}

/** A person's yes to one ask. Used once: the journal names the effect that spent it. */
export const grantShape = type({
  digest: "string",
  approvalId: "string",
  resolvedBy: "string | null",
});
export type Grant = typeof grantShape.infer;
