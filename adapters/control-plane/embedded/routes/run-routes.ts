import { type } from "arktype";
import { Hono } from "hono";
import { isJsonObject } from "../../../../machines/contracts/domain/json.ts";
import { readRunStatus, type RunStatus } from "../../../../machines/contracts/domain/status.ts";
import { stepTypes } from "../../../../machines/contracts/domain/job.ts";
import { callerOf } from "./access.ts";
import { ApiError, asJson, objectShape, readBody, readKey, readPage, rfc3339 } from "./request.ts";
import { cancelRun } from "../changes/run-state.ts";
import { createRunOnce } from "../changes/create-once.ts";
import type { PlannedStep } from "../changes/create-run.ts";
import { budgetOf } from "../changes/reservations.ts";
import { findRun } from "../changes/submit-result.ts";
import type { Change, Plane } from "../changes/change.ts";
import { inRunSpan } from "./run-span.ts";
import type { KeptEntry } from "../audit.ts";
import { mayReachAll } from "../keys.ts";
import { budgetProblem, microsPerCent } from "../../../../machines/contracts/domain/budget.ts";
import { seedIds, type Run } from "../documents.ts";

export const newRun = type({
  agent_id: "0 < string <= 255",
  "agent_version?": "string <= 255 | null",
  input: "unknown",
  "config?": objectShape.or("null"),
  "steps?": type({
    type: type.enumerated(...stepTypes),
    input: objectShape,
    "name?": "string <= 255 | null",
    "on_error?": "'fail' | 'continue' | null",
  })
    .array()
    .moreThanLength(0)
    .atMostLength(1000)
    .or("null"),
});

/** `/v1/runs`: create, list, show, cancel, audit. */
export function runRoutes({ apply, rows }: Plane): Hono {
  const app = new Hono();
  app.post("/", async (c) => {
    const body = await readBody(c, newRun);
    const request = {
      agent: body.agent_id,
      version: body.agent_version ?? null,
      input: asJson(body.input),
      config: readConfig(body.config),
      steps: body.steps?.map(planned) ?? null,
    };
    const key = readKey(c);
    const by = callerOf(c);
    const run = await inRunSpan(c.req.header("traceparent"), async (trace) => {
      const made = (change: Change) => createRunOnce(change, { ...request, trace }, key);
      const { run: one, isNew } = await apply(made, by);
      if (!isNew) c.header("Idempotency-Replayed", "true");
      return one;
    });
    return c.json(runResponse(run), 201);
  });
  app.get("/", (c) => {
    const store = rows(c);
    const project = c.req.query("project_id") ?? seedIds.project;
    const agent = c.req.query("agent");
    const wanted = {
      projectId: project,
      status: readStatus(c.req.query("status")),
      // Of an agent that nobody knows there are no runs.
      agentId: agent === undefined ? null : (store.agents.find(agent)?.id ?? agent),
      text: readText(c.req.query("text")),
    };
    const runs = store.runs.list(wanted, readPage(c, 20));
    return c.json({ runs: runs.map(runResponse), total: store.runs.count(wanted) });
  });
  app.get("/:id", (c) => {
    const store = rows(c);
    const run = findRun(store, c.req.param("id"));
    const budget = budgetOf(run, store.versions.find(run.agentVersionId)?.budget);
    return c.json({ ...runResponse(run), budget });
  });
  app.post("/:id/cancel", async (c) =>
    c.json(runResponse(await apply((change) => cancelRun(change, c.req.param("id")), callerOf(c)))),
  );
  app.get("/:id/audit", (c) => {
    const run = findRun(rows(c), c.req.param("id"));
    const page = readPage(c, 1000, 1000);
    const isOperator = mayReachAll(callerOf(c));
    return c.json(
      rows(c)
        .auditOf(run, page)
        .map((entry, at) => entryResponse(entry, page.offset + at + 1, isOperator)),
    );
  });
  return app;
}

/**
 * An entry of a run, numbered in the run. Its place in the chain is the operator's: the chain counts what all tenants do,
 * and by two hashes in a row anybody could find the number that fits between them.
 */
function entryResponse({ seq, hash, ...entry }: KeptEntry, number: number, isOperator: boolean) {
  return { seq: number, ...entry, chain: isOperator ? { seq, hash } : null };
}

export function readConfig(config: object | null | undefined) {
  const read = asJson(config);
  if (read === null) return null;
  if (!isJsonObject(read)) throw new ApiError(422, "config: expected an object");
  const problem = budgetProblem(read["budget"], "config.budget");
  if (problem !== null) throw new ApiError(422, problem);
  return read;
}

function planned(
  step: { type: PlannedStep["type"]; input: object } & {
    name?: string | null;
    on_error?: "fail" | "continue" | null;
  },
): PlannedStep {
  const input = asJson(step.input);
  if (!isJsonObject(input)) throw new ApiError(422, "a step's input: expected an object");
  return { type: step.type, input, name: step.name ?? null, onError: step.on_error ?? "fail" };
}

function readStatus(text: string | undefined): RunStatus | null {
  if (text === undefined) return null;
  const status = readRunStatus(text);
  if (status === undefined) throw new ApiError(422, "status: expected a run status");
  return status;
}

function readText(text: string | undefined): string | null {
  if (text === undefined || text === "") return null;
  if (text.length <= 255) return text;
  throw new ApiError(422, "text: expected at most 255 characters");
}

/** RunResponse, and what FerrumDeck leaves out: agent, tenant, reason, error, trace. */
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
    // Rounded up, as FerrumDeck does; once for the run, not once a step.
    cost_cents: Math.ceil(run.costMicros / microsPerCent),
    // Beyond FerrumDeck, exactly.
    cost_micros: run.costMicros,
    created_at: rfc3339(run.createdAt),
    started_at: rfc3339(run.startedAt),
    completed_at: rfc3339(run.completedAt),
    tenant_id: run.tenantId,
    agent_id: run.agentId,
    status_reason: run.statusReason,
    error: run.error,
    trace_id: run.traceId,
    // Those that wait until a model's provider can be asked again.
    held_steps: run.heldSteps?.length ?? 0,
  };
}
