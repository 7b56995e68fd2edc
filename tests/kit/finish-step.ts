import type { StepEvent } from "../../machines/step/events.ts";
import type { Activity } from "../../machines/step/activities.ts";
import type { HeldStep } from "./hold-step.ts";
import { sampleAsk } from "./step-events.ts";

const asked = { ...sampleAsk, approvalId: "apr_1", expiresAt: 86_400_000 };
const grant = { digest: sampleAsk.digest, approvalId: "apr_1", resolvedBy: null };

/** What each activity answers when nothing goes wrong any more. */
const answers: Record<Exclude<Activity, "release">, StepEvent> = {
  load: { type: "record.fresh" },
  checkPolicy: { type: "policy.allowed", verdict: { kind: "allow", reason: "on the allowlist" } },
  requestApproval: { type: "approval.requested", asks: [asked] },
  readDecision: { type: "approval.granted", grants: [grant] },
  execute: { type: "execution.completed", output: { done: true }, usage: null, costly: false },
  validate: { type: "output.valid", output: { done: true } },
  record: { type: "result.recorded", result: null },
  deliver: { type: "delivery.accepted" },
  settle: { type: "step.settled" },
  park: { type: "step.parked" },
  backOff: { type: "retry.due" },
};

/**
 * Answers every activity the step asks for as if all neighbours were well.
 *
 * @returns false if it has not ended after `patience` answers
 */
export function finishStep(held: HeldStep, patience = 50): boolean {
  for (let turn = 0; turn < patience; turn += 1) {
    if (held.actor.getSnapshot().status !== "active") return true;
    const last = held.asked.at(-1);
    if (last === undefined || last === "release") return false;
    held.actor.send(answers[last]);
  }
  return held.actor.getSnapshot().status !== "active";
}
