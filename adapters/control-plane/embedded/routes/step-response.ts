import type { Step } from "../documents.ts";
import { rfc3339 } from "./rfc3339.ts";

/** StepResponse (wire contract 1.3), with the step's name and start beside. */
export function stepResponse(step: Step) {
  return {
    id: step.id,
    run_id: step.runId,
    step_number: step.number,
    step_type: step.type,
    status: step.status,
    input: step.input,
    output: step.output,
    error: step.error,
    tool_name: step.toolName,
    model: step.model,
    input_tokens: step.inputTokens,
    output_tokens: step.outputTokens,
    created_at: rfc3339(step.createdAt),
    completed_at: rfc3339(step.completedAt),
    name: step.name,
    started_at: rfc3339(step.startedAt),
  };
}
