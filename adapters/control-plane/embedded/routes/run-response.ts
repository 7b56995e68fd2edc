import type { Run } from "../documents.ts";
import { rfc3339 } from "./rfc3339.ts";

const microsPerCent = 10_000;

/** RunResponse (wire contract 1.3), and what the reference leaves out: agent, tenant, reason, error, trace. */
export function runResponse(run: Run) {
  return {
    id: run.id,
    project_id: run.projectId,
    agent_version_id: run.agentVersionId,
    status: run.status,
    input: run.input,
    output: run.output,
    input_tokens: run.inputTokens,
    output_tokens: run.outputTokens,
    tool_calls: run.toolCalls,
    // Rounded up, as the reference does; once for the run, not once a step.
    cost_cents: Math.ceil(run.costMicros / microsPerCent),
    created_at: rfc3339(run.createdAt),
    started_at: rfc3339(run.startedAt),
    completed_at: rfc3339(run.completedAt),
    tenant_id: run.tenantId,
    agent_id: run.agentId,
    status_reason: run.statusReason,
    error: run.error,
    trace_id: run.traceId,
  };
}
