import { type Context, Hono } from "hono";
import { StoreError } from "../../../../machines/contracts/domain/errors.ts";
import { parseJob } from "../../../../machines/contracts/domain/job.ts";
import { isJsonObject, type Json } from "../../../../machines/contracts/domain/json.ts";
import type { StepRecord } from "../../../../machines/contracts/domain/record.ts";
import type { DeadLetter } from "../../../../machines/contracts/ports/step-backend.ts";
import { callerOf } from "./access.ts";
import { ApiError, asJson, readWhole, rfc3339 } from "./request.ts";
import { mayReachAll } from "../keys.ts";
import type { KeptSteps, Plane } from "../changes/change.ts";

/** `/v1/dead-letters`: jobs that no retry mended, which the workers' store keeps. */
export function deadLetterRoutes({ apply, steps, rows }: Plane): Hono {
  const app = new Hono();
  app.get("/", async (c) => {
    const limit = readWhole(c, "limit", 50, 1, 1000);
    const isOwn = ownedBy(c);
    // The store knows no tenants: of a tenant's letters the newest of all are looked through.
    const most = isOwn === null ? limit : mostLookedThrough;
    const letters = await asked(steps, ({ queue }) => queue.deadLetters(most));
    const own = isOwn === null ? letters : letters.filter(isOwn);
    return c.json(own.slice(0, limit).map(letterResponse));
  });
  /** Whether a letter's run is one of whoever calls; null for the operator, whose are also those that name none. */
  const ownedBy = (c: Context): ((letter: DeadLetter) => boolean) | null => {
    if (mayReachAll(callerOf(c))) return null;
    const { runs } = rows(c);
    return (letter) => runs.find(letterResponse(letter).run_id ?? "") !== undefined;
  };
  const find = async (c: Context<object, "/:id">): Promise<DeadLetter> => {
    const id = c.req.param("id");
    const letter = await asked(steps, ({ queue }) => queue.findDeadLetter(id));
    if (letter === null || ownedBy(c)?.(letter) === false) throw missing(id);
    return letter;
  };
  app.get("/:id", async (c) => {
    const letter = await find(c);
    const { fields, journal, result } = letter;
    return c.json({
      ...letterResponse(letter),
      job: fields,
      journal: asJson(journal),
      result: asJson(result),
    });
  });
  app.post("/:id/retry", async (c) => {
    const letter = await find(c);
    const { id } = letter;
    const { run_id, step_id } = letterResponse(letter);
    const note = (event: string) =>
      apply((change) => change.audit(run_id, event, { letter_id: id, step_id }), callerOf(c));
    // Before it stands on the stream: whatever comes between, it is known who wanted it there.
    await note("dead_letter.retry_asked");
    if (!(await asked(steps, ({ queue }) => queue.retryDeadLetter(id)))) throw missing(id);
    await note("dead_letter.retried");
    return c.json({ id, retried: true });
  });
  return app;
}

const mostLookedThrough = 1000;

const missing = (id: string) => new ApiError(404, `dead letter ${id} not found`);

/** @throws ApiError 404 where no store was given, 503 where it can't be asked */
async function asked<T>(
  steps: KeptSteps | null,
  ask: (steps: KeptSteps) => Promise<T>,
): Promise<T> {
  if (steps === null) throw new ApiError(404, "this control plane was given no store of steps");
  try {
    return await ask(steps);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    throw new ApiError(503, `the workers' store could not be asked: ${error.message}`);
  }
}

/** What the workers' store has of a step. @throws ApiError 404, 503 */
export async function findRecord(plane: Plane, runId: string, stepId: string) {
  const record = await asked(plane.steps, ({ store }) => store.find({ runId, stepId }));
  if (record === null) throw new ApiError(404, `there is no record of step ${stepId}`);
  return {
    run_id: runId,
    step_id: stepId,
    phase: record.phase,
    state: stateOf(record),
    state_history: record.stateHistory,
    wakes_at: rfc3339(record.wakeAt),
    journal: asJson(record.journal),
  };
}

/** The state in a kept snapshot, which is data from outside, as Stately's tools write it: `executing.working`. */
function stateOf({ snapshot: kept }: StepRecord): string | null {
  const snapshot = isJsonObject(asJson(kept)) ? (kept as { snapshot?: Json }).snapshot : null;
  const names: string[] = [];
  let value = isJsonObject(asJson(snapshot)) ? (snapshot as { value?: Json }).value : null;
  while (isJsonObject(asJson(value))) {
    const [[name, inner] = ["", null]] = Object.entries(value as Record<string, Json>);
    names.push(name);
    value = inner;
  }
  if (typeof value === "string") names.push(value);
  return names.length === 0 ? null : names.join(".");
}

function letterResponse(letter: DeadLetter) {
  const { id, fields, reason, lastTrouble, deliveries, stateHistory, at } = letter;
  const parsed = parseJob(fields);
  const { runId, stepId } = parsed.valid ? parsed.job : parsed.invalid;
  return {
    id,
    run_id: runId,
    step_id: stepId,
    reason,
    last_trouble: lastTrouble,
    deliveries,
    state_history: stateHistory,
    dead_since: rfc3339(at),
  };
}
