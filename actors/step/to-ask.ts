import type { Action, Ask } from "../../machines/contracts/action.ts";
import type { StepKey } from "../../machines/contracts/record.ts";
import { digest } from "../digest.ts";

/** The digest a grant is bound to: this action, in this step, and nothing else. */
export function actionDigest({ runId, stepId }: StepKey, action: Action): string {
  return digest({ runId, stepId, action });
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
