import { Hono } from "hono";
import { requestId } from "hono/request-id";
import type { EmbeddedOptions } from "./start.ts";
import { authorize } from "./routes/access.ts";
import { ApiError, limitBody, maxAnswer, maxBody } from "./routes/request.ts";
import { expireDue } from "./changes/approvals.ts";
import { enqueueSilent, silentMs } from "./changes/run-state.ts";
import { newId } from "./documents.ts";
import { system, type WholePlane } from "./changes/change.ts";
import { agentRoutes } from "./routes/agent-routes.ts";
import { approvalRoutes } from "./routes/approval-routes.ts";
import { auditRoutes } from "./routes/audit-routes.ts";
import { backupRoutes } from "./routes/backup-routes.ts";
import { evalRoutes } from "./routes/eval-routes.ts";
import { apiVersion, eventRoutes, healthRoutes } from "./routes/event-routes.ts";
import { databaseTrouble } from "./database-trouble.ts";
import { deadLetterRoutes } from "./routes/dead-letter-routes.ts";
import { keyRoutes } from "./routes/key-routes.ts";
import { ownOrigin } from "./routes/origin.ts";
import { policyRoutes } from "./routes/policy-routes.ts";
import { runRoutes } from "./routes/run-routes.ts";
import { stepByIdRoutes, stepRoutes } from "./routes/step-routes.ts";
import { tenantRoutes } from "./routes/tenant-routes.ts";
import { serverRoutes, toolRoutes } from "./routes/tool-routes.ts";
import { answerRoutes } from "./notices/routes.ts";
import { workflowRoutes, workflowRunRoutes } from "./workflows/routes.ts";

/** What the passing of time brings: questions expire, workflows go on, silent steps are enqueued again. */
export async function keepTime({
  store,
  apply,
  outbox,
  now,
  workflows,
}: WholePlane): Promise<void> {
  if (store.approvals.due(now()).length > 0) await apply(expireDue, system);
  const due = workflows === null ? null : store.progress.firstDue();
  if (due !== null && due <= now()) await apply((change) => workflows?.fireDue(change), system);
  // While the stream is away nothing can be heard of anybody.
  if (outbox.failing() || store.steps.silentSince(now() - silentMs).length === 0) return;
  await apply(enqueueSilent, system);
}

/** The HTTP API of the embedded control plane. */
export function createApp(
  plane: WholePlane,
  given: Pick<EmbeddedOptions, "apiKey" | "host" | "log"> & {
    publicUrl: string | null;
    site: EmbeddedOptions["site"] | undefined;
  },
): Hono {
  const { apiKey, host, publicUrl, site, log } = given;
  const app = new Hono();
  app.use(requestId({ headerName: "x-request-id", generator: () => newId("req", plane.now()) }));
  app.use(ownOrigin(host, publicUrl));
  // A body is read only once it is known that whoever sends it may.
  app.use("/v1/*", authorize(plane.store, apiKey, plane.now));
  // Hono answers HEAD by GET's handler, and what that streams would go on with nobody there.
  for (const streamed of ["/v1/events/*", "/v1/backup"]) {
    app.use(streamed, async (c, next) =>
      c.req.method === "HEAD" ? c.body(null, 204) : await next(),
    );
  }
  app.use("/v1/*", limitBody(maxBody));
  app.use("/answer/*", limitBody(maxAnswer));
  for (const timed of ["/v1/*", "/answer/*"]) {
    app.use(timed, async (_, next) => {
      // The clock looks again soon and says in the log what it met: who asks for something else does not suffer for it.
      await keepTime(plane).catch(() => {});
      await next();
    });
  }
  app.route("/", healthRoutes(plane));
  // Made from every route's shapes, which most processes never need: not before somebody asks.
  let document: Promise<string> | null = null;
  app.get("/openapi.json", async (c) => {
    document ??= import("./openapi/document.ts").then(({ openApi }) =>
      JSON.stringify(openApi(apiVersion)),
    );
    return c.body(await document, 200, { "content-type": "application/json" });
  });
  app.route("/answer", answerRoutes(plane));
  app.route("/v1/runs", runRoutes(plane));
  app.route("/v1/runs", stepRoutes(plane));
  app.route("/v1/steps", stepByIdRoutes(plane));
  app.route("/v1/approvals", approvalRoutes(plane));
  app.route("/v1/registry/agents", agentRoutes(plane));
  app.route("/v1/registry/tools", toolRoutes(plane));
  app.route("/v1/registry/mcp-servers", serverRoutes(plane));
  app.route("/v1/api-keys", keyRoutes(plane));
  app.route("/v1/tenants", tenantRoutes(plane));
  app.route("/v1/audit", auditRoutes(plane));
  app.route("/v1/workflows", workflowRoutes(plane));
  app.route("/v1/workflow-runs", workflowRunRoutes(plane));
  app.route("/v1/policies", policyRoutes(plane));
  app.route("/v1/backup", backupRoutes(plane));
  app.route("/v1/events", eventRoutes(plane));
  app.route("/v1/evals", evalRoutes(plane));
  app.route("/v1/dead-letters", deadLetterRoutes(plane));
  app.notFound((c) => {
    const page = site?.(c.req.raw) ?? null;
    if (page !== null) return page;
    return c.json(new ApiError(404, `no such route: ${c.req.method} ${c.req.path}`), 404);
  });
  app.onError((error, c) => {
    if (error instanceof ApiError) return c.json(error, error.status);
    log.error({ err: error, requestId: c.get("requestId"), path: c.req.path }, "request failed");
    const trouble = databaseTrouble(error, plane.path);
    if (trouble !== null) return c.json(new ApiError(503, `nothing was changed: ${trouble}`), 503);
    return c.json(new ApiError(500, "internal error; see the control plane's log"), 500);
  });
  return app;
}
