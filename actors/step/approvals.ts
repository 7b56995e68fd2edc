import { hash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import type { Action, Ask, Grant, Refusal } from "../../machines/contracts/domain/action.ts";
import { isJsonObject, type Json } from "../../machines/contracts/domain/json.ts";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { approvalAction } from "../handlers/approval.ts";
import { toolAction } from "../handlers/tool.ts";

/** The yes that a person gave to exactly this action in this step; null when there is none. */
export function coveringGrant(
  context: Pick<StepContext, "runId" | "stepId" | "grants">,
  action: Action,
): Grant | null {
  if (context.grants.length === 0) return null;
  const wanted = actionDigest(context, action);
  return context.grants.find(({ digest }) => digest === wanted) ?? null;
}

/** The action with the arguments that a person has put in place of its own; itself where nobody has. */
export function withEdit(
  context: Pick<StepContext, "runId" | "stepId" | "grants">,
  action: Action,
): Action {
  let edited = action;
  // A call that was edited may be asked about again, and edited again.
  for (const { edit } of context.grants) {
    if (edit === undefined || edit.isStep || edit.asked !== actionDigest(context, edited)) continue;
    edited = { ...edited, input: edit.input };
  }
  return edited;
}

/** The no that this action got in this step; null when there is none. */
export function coveringRefusal(
  context: Pick<StepContext, "runId" | "stepId" | "refusals">,
  action: Action,
): Refusal | null {
  if (context.refusals.length === 0) return null;
  const wanted = actionDigest(context, action);
  return context.refusals.find(({ digest }) => digest === wanted) ?? null;
}

/** What the handler is told of it. */
export const toldNo = ({ kind, reason, approvalId, digest }: Refusal): Failure =>
  terminal(kind, reason, { approval_id: approvalId, digest });

/** The digest a grant is bound to: this action, in this step, and nothing else. */
export function actionDigest({ runId, stepId }: StepKey, action: Action): string {
  return digestOf({ runId, stepId, action });
}

/** A question about one action, not yet put to anyone. */
export function toAsk(step: StepKey, action: Action, reason: string): Ask {
  return {
    digest: actionDigest(step, action),
    action,
    reason,
    approvalId: null,
    expiresAt: null,
  };
}

/** The one action a step stands for, as policy and people are shown it. */
export function stepAction(job: Job): Action {
  switch (job.stepType) {
    case "tool":
      return toolAction(job);
    case "approval":
      return approvalAction(job);
    case "llm":
      return { kind: "model", name: String(job.input["model"] ?? "default"), input: job.input };
    case "sandbox":
      return { kind: "sandbox", name: String(job.input["language"] ?? "python"), input: job.input };
    case "retrieval":
      return { kind: "retrieval", name: "retrieve", input: job.input };
  }
}

/** A step's own action: it is looked at several times in every step. Its digest is made when it is read. */
export class OwnAction {
  readonly job: Job;
  readonly action: Action;
  #digest: string | null = null;

  constructor(job: Job) {
    this.job = job;
    this.action = stepAction(job);
  }

  get digest(): string {
    return (this.#digest ??= digestOf(this.action));
  }

  /** Whether this is the very action, or one that says the same. */
  is(action: Action): boolean {
    return action === this.action || digestOf(action) === this.digest;
  }

  /** The digest of an action, which is known already if it is this one. */
  digestOf(action: Action): string {
    return action === this.action ? this.digest : digestOf(action);
  }
}

/** A short digest of each part of what goes into an effect. */
export function inputDigests(input: Json): Record<string, string> {
  const parts = isJsonObject(input) ? Object.entries(input) : [["input", input] as const];
  return Object.fromEntries(
    parts
      .filter(([, part]) => part !== undefined)
      .map(([name, part]) => [name, digestOf(part).slice(0, 16)]),
  );
}

/** Hex SHA-256 of a value's canonical JSON (keys sorted), so that equal values have equal digests. */
export function digestOf(value: unknown): string {
  return hash("sha256", stringify(value) ?? "null", "hex");
}
