import { Hono } from "hono";
import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import type { Plane } from "../changes/change.ts";
import { ApiError, readWhole } from "./request.ts";

/** Reports of evals, from wherever they are kept; null for what is not there. */
export interface EvalReports {
  /** The newest first; and what is no report that can be read. */
  list(limit: number): Promise<{ evals: JsonObject[]; problems: JsonObject[] }>;
  /** In all, and a line for each task. */
  find(id: string): Promise<JsonObject | null>;
  /** One task with its trials, whole. */
  task(id: string, taskId: string): Promise<JsonObject | null>;
}

/** `/v1/evals`: what evals found, for the console. They are the operator's, and only shown. */
export function evalRoutes({ evals }: Plane): Hono {
  const app = new Hono();
  const given = (): EvalReports => {
    if (evals === null) throw new ApiError(404, "this control plane was given no reports of evals");
    return evals;
  };
  app.get("/", async (c) => c.json(await given().list(readWhole(c, "limit", 50, 1, 200))));
  app.get("/:id", async (c) => {
    const id = c.req.param("id");
    const found = await given().find(id);
    if (found === null) throw new ApiError(404, `eval ${id} not found`);
    return c.json(found);
  });
  app.get("/:id/tasks/:task", async (c) => {
    const { id, task } = c.req.param();
    const found = await given().task(id, task);
    if (found === null) throw new ApiError(404, `eval ${id} has no task ${task}`);
    return c.json(found);
  });
  return app;
}
