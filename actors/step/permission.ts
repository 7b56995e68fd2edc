import type { Action } from "../../machines/contracts/action.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { Permission } from "../handlers/handler.ts";
import { digest as digestOf } from "../digest.ts";
import { actionDigest, toAsk } from "./to-ask.ts";
import { stepAction } from "./step-action.ts";

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
  if (grant !== undefined) return { granted: true, grant };
  if (context.verdict?.kind === "allow" && isOwnAction(context.job, action)) {
    return { granted: true, grant: null };
  }
  const reason = context.verdict?.reason ?? "nobody has allowed this action";
  return { granted: false, work: { kind: "asked", asks: [toAsk(context, action, reason)] } };
}

function isOwnAction(job: StepContext["job"], action: Action): boolean {
  return job !== null && digestOf(stepAction(job)) === digestOf(action);
}
