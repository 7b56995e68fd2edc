import { createHash } from "node:crypto";
import { type } from "arktype";
import { type Context, Hono } from "hono";
import { microsPerCent } from "../../../../machines/contracts/domain/budget.ts";
import { isJsonObject, type Json } from "../../../../machines/contracts/domain/json.ts";
import { cutText } from "../../../../machines/contracts/domain/text.ts";
import { isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import type { WorkflowStepState } from "../../../../machines/contracts/ports/workflow-engine.ts";
import type { Change, Plane } from "../changes/change.ts";
import { findVersion, newRun, type RunTrace } from "../changes/create-run.ts";
import { inRunSpan } from "../routes/run-span.ts";
import { cancelRun } from "../changes/run-state.ts";
import { findRun } from "../changes/submit-result.ts";
import { newId, type Run, seedIds, type Step } from "../documents.ts";
import { callerOf } from "../routes/access.ts";
import { ApiError, asJson, objectShape, readBody, readPage, rfc3339 } from "../routes/request.ts";
import { listInParts, pagesOfSteps } from "../routes/long-list.ts";
import { readConfig } from "../routes/run-routes.ts";
import { refuseSpentUp } from "../spending.ts";
import type { Rows } from "../rows.ts";
import type { WorkflowHost } from "./host.ts";
import type { Workflow } from "./tables.ts";

export const newWorkflow = type({
  name: "0 < string <= 256",
  version: "0 < string <= 64",
  definition: objectShape,
  "project_id?": "0 < string <= 255 | null",
  "description?": "string <= 4096 | null",
  "max_iterations?": "1 <= number.integer <= 100 | null",
  "on_error?": "'fail' | 'continue' | 'retry' | null",
});
export const newWorkflowRun = type({
  workflow_id: "0 < string <= 255",
  input: objectShape,
  "agent_id?": "0 < string <= 255 | null",
  "config?": objectShape.or("null"),
});

/** `/v1/workflows`: register, list, show, and the runs of one. */
export function workflowRoutes({ apply, rows, workflows, now }: Plane): Hono {
  const app = new Hono();
  app.post("/", async (c) => {
    const host = running(workflows);
    const { name, version, definition, ...more } = await readBody(c, newWorkflow);
    const whole = wholeDefinition(asJson(definition), { name, version, ...more });
    const checked = host.check(whole);
    if (!checked.ok) throw new ApiError(422, `definition: ${checked.failure.message}`);
    const projectId = more.project_id ?? seedIds.project;
    const digest = createHash("sha256")
      .update(JSON.stringify([projectId, whole]))
      .digest("hex");
    const { workflow, isNew } = await apply((change) => {
      const known = change.store.workflows.findByDigest(digest);
      if (known !== undefined) return { workflow: known, isNew: false };
      const id = newId("wf", now());
      const description = more.description ?? null;
      const kept: Workflow = {
        id,
        tenantId: change.store.home,
        projectId,
        name,
        description,
        version,
        definition: whole,
        digest,
        createdAt: now(),
      };
      change.store.workflows.add(kept);
      change.audit(null, "workflow.created", { workflow_id: id, name, version });
      return { workflow: kept, isNew: true };
    }, callerOf(c));
    return c.json(workflowResponse(workflow), isNew ? 201 : 200);
  });
  app.get("/", (c) => {
    const project = c.req.query("project_id") ?? seedIds.project;
    const found = rows(c).workflows.list(project, readPage(c, 20));
    return c.json({ workflows: found.map(workflowResponse) });
  });
  app.get("/:id", (c) => c.json(workflowResponse(findWorkflow(rows(c), c.req.param("id")))));
  app.get("/:id/runs", (c) => {
    const { id } = findWorkflow(rows(c), c.req.param("id"));
    const runs = rows(c).runs.ofWorkflow(id, readPage(c, 20));
    return c.json({ runs: runs.map((run) => runResponse(run, [])) });
  });
  return app;
}

/** `/v1/workflow-runs`: start, show and cancel runs, and what became of their steps. */
export function workflowRunRoutes({ apply, rows, workflows, now }: Plane): Hono {
  const app = new Hono();
  const find = (c: Context<object, "/:id">): Run => {
    const run = findRun(rows(c), c.req.param("id"));
    if (run.workflowId === undefined) throw new ApiError(404, `run ${run.id} is not a workflow's`);
    return run;
  };
  const view = (run: Run) => runResponse(run, workflows?.steps(run) ?? []);
  app.post("/", async (c) => {
    const host = running(workflows);
    const body = await readBody(c, newWorkflowRun);
    const workflow = findWorkflow(rows(c), body.workflow_id);
    const input = asJson(body.input);
    if (!isJsonObject(input)) throw new ApiError(422, "input: expected an object");
    const config = readConfig(body.config);
    const begin = (change: Change, trace: RunTrace): Run => {
      const agent = agentOf(change.store, workflow, body.agent_id ?? null);
      const version = findVersion(change.store, agent, null);
      if (version.tenantId !== workflow.tenantId) {
        throw new ApiError(422, "agent_id: expected an agent of the workflow's tenant");
      }
      const fresh = newRun(change, version, { input, config, trace }, newId("wfr", now()));
      refuseSpentUp(change, fresh);
      const run = change.saveRun({ ...fresh, workflowId: workflow.id });
      change.audit(run.id, "run.created", { agent_id: run.agentId, workflow_id: workflow.id });
      return host.begin(change, run, workflow);
    };
    const by = callerOf(c);
    const run = await inRunSpan(c.req.header("traceparent"), (trace) =>
      apply((change) => begin(change, trace), by),
    );
    return c.json(view(run), 201);
  });
  app.get("/:id", (c) => c.json(view(find(c))));
  app.post("/:id/cancel", async (c) => {
    const { id } = find(c);
    return c.json(view(await apply((change) => cancelRun(change, id), callerOf(c))));
  });
  app.get("/:id/executions", (c) => {
    const run = find(c);
    const store = rows(c);
    const steps = workflows?.steps(run) ?? [];
    const parts = async function* () {
      const jobs = new Map<string, string>();
      for await (const page of pagesOfSteps(store, run.id)) {
        for (const { id, workflow } of page)
          if (workflow !== undefined) jobs.set(`${workflow.step} ${workflow.attempt}`, id);
      }
      for (const state of steps) {
        const job = jobs.get(`${state.step} ${state.attempt}`);
        const step = job === undefined ? undefined : store.steps.find(job);
        yield [executionResponse(run, state, step)];
      }
    };
    return listInParts(c, parts(), ['{"executions":', "}"]);
  });
  return app;
}

function running(workflows: WorkflowHost | null): WorkflowHost {
  if (workflows === null) throw new ApiError(404, "this control plane runs no workflows");
  return workflows;
}

/** The format keeps beside a definition's steps what FerrumDeck's API has beside the definition. */
function wholeDefinition(
  definition: Json,
  given: Omit<typeof newWorkflow.infer, "definition">,
): Json {
  if (!isJsonObject(definition)) throw new ApiError(422, "definition: expected an object");
  const { name, version, description, max_iterations: most, on_error: onError } = given;
  return {
    id: cutText(name, 128),
    name,
    version,
    ...(description == null ? {} : { description }),
    ...(most == null ? {} : { max_iterations: most }),
    ...(onError == null ? {} : { on_error: onError }),
    ...definition,
  };
}

function findWorkflow(store: Rows, id: string): Workflow {
  const workflow = store.workflows.find(id);
  if (workflow === undefined) throw new ApiError(404, `workflow ${id} not found`);
  return workflow;
}

/** FerrumDeck's runs of workflows name no agent, whose lists and budget ours go by: the only one there is. */
function agentOf(store: Rows, workflow: Workflow, asked: string | null): string {
  if (asked !== null) return asked;
  const agents = store.agents.activeOf(workflow, 2);
  const [only] = agents;
  if (only !== undefined && agents.length === 1) return only.id;
  throw new ApiError(422, "agent_id: expected the agent whose tools and budget the run has");
}

function workflowResponse(workflow: Workflow) {
  const { id, projectId, name, description, version, definition, createdAt } = workflow;
  const { max_iterations: most = 10, on_error: onError = "fail" } = isJsonObject(definition)
    ? definition
    : {};
  return {
    id,
    project_id: projectId,
    name,
    description,
    version,
    status: "active",
    definition,
    max_iterations: most,
    on_error: onError,
    created_at: rfc3339(createdAt),
    updated_at: rfc3339(createdAt),
  };
}

/** WorkflowRun, with the steps by their names, the agent and the reason beside. */
function runResponse(run: Run, steps: readonly WorkflowStepState[]) {
  const shown = steps.map(({ path, type: stepType, status, attempt, reason }) => {
    return { name: path, type: stepType, status: shownStatus(status), attempt, reason };
  });
  const current = steps.findLast(({ status }) => status === "running" || status === "asking");
  return {
    id: run.id,
    workflow_id: run.workflowId,
    project_id: run.projectId,
    status: run.status,
    input: run.input,
    context: {},
    output: run.output,
    error: run.error,
    current_step_id: current?.path ?? null,
    input_tokens: run.inputTokens,
    output_tokens: run.outputTokens,
    tool_calls: run.toolCalls,
    cost_cents: Math.ceil(run.costMicros / microsPerCent),
    cost_micros: run.costMicros,
    created_at: rfc3339(run.createdAt),
    started_at: rfc3339(run.startedAt),
    completed_at: rfc3339(run.completedAt),
    agent_id: run.agentId,
    status_reason: run.statusReason,
    steps: shown,
  };
}

const wireStatuses: Readonly<Record<string, string>> = {
  waiting: "pending",
  deciding: "pending",
  asking: "waiting_approval",
  "backing-off": "retrying",
  open: "running",
  stopping: "running",
  cancelled: "skipped",
};
const shownStatus = (status: string): string => wireStatuses[status] ?? status;

/** WorkflowStepExecution of the newest attempt; `job_id` is the step as it stood on the stream. */
function executionResponse(run: Run, state: WorkflowStepState, job: Step | undefined) {
  return {
    id: job?.id ?? `wfse_${run.id}_${state.step}`,
    workflow_run_id: run.id,
    step_id: state.path,
    step_type: state.type,
    status: shownStatus(state.status),
    input: job?.input ?? null,
    output: job?.output ?? null,
    error: job?.error ?? null,
    attempt: Math.max(1, state.attempt),
    input_tokens: job?.inputTokens ?? null,
    output_tokens: job?.outputTokens ?? null,
    started_at: rfc3339(job?.startedAt ?? null),
    completed_at: job !== undefined && isStepEnded(job.status) ? rfc3339(job.completedAt) : null,
    job_id: job?.id ?? null,
  };
}
