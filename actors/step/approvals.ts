import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import type { Action, Ask } from "../../machines/contracts/domain/action.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { Permission } from "../handlers/handler.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { approvalAction } from "../handlers/approval.ts";
import { toolAction } from "../handlers/tool.ts";

/**
 * Whether exactly this action may be done now: policy allowed the step's own action, or a person granted
 * this digest. Anything else is asked.
 */
export function permission(
  context: Pick<StepContext, "runId" | "stepId" | "job" | "verdict" | "grants">,
  action: Action,
): Permission {
  const wanted = actionDigest(context, action);
  const grant = context.grants.find(({ digest }) => digest === wanted);
  if (grant !== undefined) return { allowed: true, grant };
  if (context.verdict?.kind === "allow" && isOwnAction(context.job, action)) {
    return { allowed: true, grant: null };
  }
  const reason = context.verdict?.reason ?? "nobody has allowed this action";
  return { allowed: false, result: { kind: "asked", asks: [toAsk(context, action, reason)] } };
}

function isOwnAction(job: StepContext["job"], action: Action): boolean {
  return job !== null && digestOf(stepAction(job)) === digestOf(action);
}

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

/** Hex SHA-256 of a value's canonical JSON (keys sorted), so that equal values have equal digests. */
export function digestOf(value: unknown): string {
  return createHash("sha256")
    .update(stringify(value) ?? "null")
    .digest("hex");
}
