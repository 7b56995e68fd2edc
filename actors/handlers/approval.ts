import type { Action } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { approvalInput } from "../../machines/contracts/domain/step-input.ts";
import type { StepHandler } from "./handler.ts";

/** What a person is shown for an approval step: its message, and all of its input. */
export function approvalAction(job: Job): Action {
  const input = approvalInput().assert(job.input);
  const name = input.message ?? input.approval_message ?? "approval";
  return { kind: "approval", name, input: job.input };
}

/** An approval step is done when a person said yes to exactly what it shows, and never before. */
export const approvalHandler: StepHandler = async ({ job, permission }) => {
  const permitted = await permission(approvalAction(job));
  if (!permitted.allowed) return permitted.result;
  return {
    kind: "done",
    output: {
      status: "approved",
      approval_id: permitted.grant?.approvalId ?? null,
      resolved_by: permitted.grant?.resolvedBy ?? null,
    },
  };
};
