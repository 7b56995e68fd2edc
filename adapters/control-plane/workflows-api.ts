import { type } from "arktype";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import type { ControlPlaneApi } from "./api.ts";
import { checked } from "./answer.ts";

const registered = type({ id: "string", name: "string", version: "string" });
const started = type({ id: "string", workflow_id: "string", status: "string" });

type Caller = Pick<ControlPlaneApi, "call">;

export interface NewWorkflowRun {
  workflowId: string;
  input: JsonObject;
  /** An agent's id or slug; may be left out where there is only one. */
  agentId?: string;
  /** A budget, and a model for all steps. */
  config?: JsonObject;
}

/** Registers a definition; the same one is kept once. Only where `workflows` is advertised. */
export async function registerWorkflow(
  api: Caller,
  { definition, projectId }: { definition: WorkflowDefinition; projectId: string },
  signal: AbortSignal,
): Promise<Outcome<typeof registered.infer>> {
  const { name, version = "1.0.0" } = definition;
  const body = { name, version, project_id: projectId, definition: definition as unknown as Json };
  return checked(
    await api.call({ method: "POST", path: "/v1/workflows", body }, signal),
    registered,
    "workflow",
  );
}

/** Starts a run of a registered workflow. It is a run like any other: by its id it is shown, watched and cancelled. */
export async function startWorkflowRun(
  api: Caller,
  { workflowId, input, agentId, config }: NewWorkflowRun,
  signal: AbortSignal,
): Promise<Outcome<typeof started.infer>> {
  const body = {
    workflow_id: workflowId,
    input,
    ...(agentId === undefined ? {} : { agent_id: agentId }),
    ...(config === undefined ? {} : { config }),
  };
  return checked(
    await api.call({ method: "POST", path: "/v1/workflow-runs", body }, signal),
    started,
    "workflow run",
  );
}
