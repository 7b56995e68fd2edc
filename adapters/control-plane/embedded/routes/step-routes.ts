import { type } from "arktype";
import { type Context, Hono } from "hono";
import { callerOf } from "./access.ts";
import { ApiError, asJson, readBody, readKey, readPage, rfc3339 } from "./request.ts";
import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import { isShort, listInParts, pagesOfSteps } from "./long-list.ts";
import { findRecord } from "./dead-letter-routes.ts";
import { checkTool } from "../changes/check-tool.ts";
import { reserve, settleReservation } from "../changes/reservations.ts";
import { findRun, findStep, submitResult } from "../changes/submit-result.ts";
import type { Plane } from "../changes/change.ts";
import type { Step } from "../documents.ts";
import { schemaProblem } from "../response-level.ts";

export const result = type({
  status: "'completed' | 'failed' | 'waiting_approval'",
  "output?": "unknown",
  "error?": "unknown",
  "input_tokens?": "number.integer >= 0 | null",
  "output_tokens?": "number.integer >= 0 | null",
  "trace?": "unknown",
});
/** Of a report's `trace`; times are epoch milliseconds. */
const traceShape = type({
  states: type("string <= 64").array().atMostLength(1000),
  "entered?": type("number.epoch | null").array().atMostLength(1000),
  effects: type({
    "+": "delete",
    name: "string <= 512",
    begun_at: "number.epoch | null",
    completed_at: "number.epoch | null",
    "what?": "string <= 512",
    "input_tokens?": "number.integer >= 0",
    "output_tokens?": "number.integer >= 0",
    "cost_micros?": "number.integer >= 0 | null",
  })
    .array()
    .atMostLength(1000),
});
const provenance = type({
  at: "string <= 300",
  from: "string <= 512",
  characters: "number.integer >= 0",
  mode: "string <= 16",
});
export const toolCheck = type({
  tool_name: "0 < string <= 255",
  "server?": "0 < string <= 255 | null",
  "call_id?": "0 < string <= 512 | null",
  "tool_input?": "unknown",
  "provenance?": provenance,
  "estimated_cost_cents?": "number.integer >= 0 | null",
});

export const reservation = type({
  reservation_id: "0 < string <= 512",
  step_id: "0 < string <= 255",
  input_tokens: "number.integer >= 0",
  output_tokens: "number.integer >= 0",
  cost_micros: "number.integer >= 0 | null",
});

/** `untried`: the model's provider can't be asked now, and the step waits for it. */
export const settlement = reservation.merge({ "untried?": "boolean" });

/** `/v1/runs/{id}`: its steps, their results, the check of a tool call, and reservations of its budget. */
export function stepRoutes(plane: Plane): Hono {
  const { airlock, apply, rows, costMicros, schemas } = plane;
  const app = new Hono();
  app.get("/:id/steps", (c) => {
    const run = findRun(rows(c), c.req.param("id"));
    const store = rows(c);
    const isPaged = c.req.query("limit") !== undefined || c.req.query("offset") !== undefined;
    if (isPaged) return c.json(store.steps.ofRun(run.id, readPage(c, 100, 1000)).map(stepResponse));
    // All of them, as FerrumDeck answers, where nobody asks for a page.
    const first = store.steps.after(run.id, -1);
    if (isShort(store, run.id, first)) return c.json(first.map(stepResponse));
    const parts = async function* () {
      for await (const page of pagesOfSteps(store, run.id)) yield page.map(stepResponse);
    };
    return listInParts(c, parts());
  });
  app.get("/:id/steps/:stepId", (c) =>
    c.json(stepResponse(findStep(rows(c), c.req.param("id"), c.req.param("stepId")).step)),
  );
  app.get("/:id/steps/:stepId/record", async (c) => {
    const { run, step } = findStep(rows(c), c.req.param("id"), c.req.param("stepId"));
    return c.json(await findRecord(plane, run.id, step.id));
  });
  app.post("/:id/steps/:stepId", async (c) => {
    const body = await readBody(c, result);
    const submission = {
      runId: c.req.param("id"),
      stepId: c.req.param("stepId"),
      status: body.status,
      output: asJson(body.output),
      error: asJson(body.error),
      inputTokens: body.input_tokens ?? null,
      outputTokens: body.output_tokens ?? null,
      key: readKey(c),
      fence: readFence(c),
      trace: readTrace(body.trace),
    };
    const submitted = await apply(
      (change) => submitResult(change, submission, costMicros),
      callerOf(c),
    );
    if (submitted.kind === "refused") throw submitted.error;
    if (submitted.kind === "replayed") c.header("Idempotency-Replayed", "true");
    return c.json(stepResponse(submitted.step));
  });
  app.post("/:id/reservations", async (c) => {
    const asked = readReservation(await readBody(c, reservation));
    const said = await apply((change) => reserve(change, c.req.param("id"), asked), callerOf(c));
    if (said.granted) return c.json({ id: asked.id, granted: true });
    const { limit, used, most, message: reason } = said;
    return c.json({ id: asked.id, granted: false, limit, used, most, reason });
  });
  app.post("/:id/reservations/settle", async (c) => {
    const body = await readBody(c, settlement);
    const used = readReservation(body);
    await apply(
      (change) => settleReservation(change, c.req.param("id"), used, body.untried),
      callerOf(c),
    );
    return c.json({ id: used.id, settled: true });
  });
  app.post("/:id/check-tool", async (c) => {
    const body = await readBody(c, toolCheck);
    const id = c.req.param("id");
    const call = { server: body.server ?? null, name: body.tool_name };
    const input = asJson(body.tool_input);
    const run = airlock === null ? undefined : rows(c).runs.find(id);
    const registry = run === undefined ? [] : rows(c).tools.of(run);
    const tool = {
      ...call,
      callId: body.call_id ?? null,
      input,
      // Before the change, which waits for nothing.
      drift: await schemaProblem(schemas, registry, { ...call, input }),
      provenance: body.provenance ?? null,
      costCents: body.estimated_cost_cents ?? 0,
    };
    const verdict = await apply((change) => checkTool(change, id, tool), callerOf(c));
    return c.json({
      allowed: verdict.kind === "allow",
      requires_approval: verdict.kind === "ask",
      decision_id: verdict.decisionId,
      reason: verdict.reason,
      risk_score: 0,
      risk_level: "low",
      blocked_by_airlock: false,
      shadow_mode: false,
      ...verdict.details,
    });
  });
  return app;
}

/** `/v1/steps/{id}`, for whoever does not know its run. */
export function stepByIdRoutes({ rows }: Plane): Hono {
  const app = new Hono();
  app.get("/:stepId", (c) => {
    const id = c.req.param("stepId");
    const step = rows(c).steps.find(id);
    if (step === undefined) throw new ApiError(404, `step ${id} not found`);
    return c.json(stepResponse(step));
  });
  return app;
}

const readReservation = ({
  reservation_id: id,
  step_id: stepId,
  input_tokens: inputTokens,
  output_tokens: outputTokens,
  cost_micros: costMicros,
}: typeof reservation.infer) => ({ id, stepId, inputTokens, outputTokens, costMicros });

/** What is kept of it, its times as the wire has them. One that can't be read is none: no result is lost for it. */
function readTrace(given: unknown): JsonObject | null {
  const trace = traceShape(given);
  if (trace instanceof type.errors) return null;
  const effects = trace.effects.map(({ begun_at: begun, completed_at: completed, ...effect }) => {
    return { ...effect, begun_at: rfc3339(begun), completed_at: rfc3339(completed) };
  });
  return { states: trace.states, entered: (trace.entered ?? []).map(rfc3339), effects };
}

function readFence(c: Context): number | null {
  const fence = c.req.header("x-stateplane-fence");
  if (fence === undefined) return null;
  if (/^\d{1,15}$/.test(fence)) return Number(fence);
  throw new ApiError(400, "X-Stateplane-Fence: expected a whole number");
}

/** StepResponse, with the step's name and start beside. */
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
    cost_micros: step.costMicros,
    trace: step.trace ?? null,
  };
}
