import type { Json } from "../../../../machines/contracts/json.ts";
import { isStepEnded } from "../../../../machines/contracts/status.ts";
import type { Step } from "../documents.ts";

export type Move =
  | { kind: "wait" }
  | { kind: "enqueue"; stepId: string }
  | { kind: "fail"; stepId: string }
  | { kind: "complete"; output: Json };

type Progress = Pick<Step, "id" | "status" | "onError" | "enqueuedAt" | "output">;

/**
 * What a run does now, from its steps in their order: one step at a time; a failed step fails the run unless it
 * said `continue`; a run whose steps have all ended completes with the last completed step's output.
 */
export function nextMove(steps: readonly Progress[]): Move {
  const failed = steps.find((step) => step.status === "failed" && step.onError === "fail");
  if (failed !== undefined) return { kind: "fail", stepId: failed.id };
  const open = steps.find((step) => !isStepEnded(step.status));
  if (open === undefined) {
    const last = steps.findLast((step) => step.status === "completed");
    return { kind: "complete", output: last?.output ?? null };
  }
  return open.enqueuedAt === null ? { kind: "enqueue", stepId: open.id } : { kind: "wait" };
}
