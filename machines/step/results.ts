import { type Failure, terminal } from "../contracts/failure.ts";
import type { StepResult } from "../contracts/step-result.ts";
import type { StepContext } from "./context.ts";

export function completed(context: StepContext): StepResult {
  return { status: "completed", output: context.output, usage: context.usage };
}

export function failedWith(context: StepContext, failure: Failure): StepResult {
  return { status: "failed", failure, output: context.output, usage: context.usage };
}

const deadlines = {
  queue: "the step waited in the queue past its deadline",
  approval: "nobody decided before the approval's deadline",
  executing: "the step's work took longer than it may",
  total: "the step as a whole took longer than it may",
};

export function timedOut(which: keyof typeof deadlines): Failure {
  return terminal("timeout", deadlines[which], { deadline: which });
}
