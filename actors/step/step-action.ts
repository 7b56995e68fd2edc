import type { Action } from "../../machines/contracts/action.ts";
import type { Job } from "../../machines/contracts/job.ts";
import { approvalAction } from "../handlers/approval.ts";
import { toolAction } from "../handlers/tool.ts";

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
