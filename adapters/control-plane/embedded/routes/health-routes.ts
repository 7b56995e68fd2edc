import { Hono } from "hono";
import type { Plane } from "../plane.ts";

const version = "0.1.0";
/** What goes beyond the reference; see `Extension` of the control plane's port. `steps`: runs that name their steps. */
const extensions = ["idempotent-results", "approvals", "events", "steps"];

/** `/health` and `/ready`, which need no key. */
export function healthRoutes({ store, outbox }: Plane): Hono {
  const app = new Hono();
  app.get("/health", (c) => c.json({ status: "healthy", version, extensions }));
  app.get("/ready", (c) => {
    const since = performance.now();
    store.outbox.first(1);
    const latency = Math.round(performance.now() - since);
    const publishes = !outbox.failing();
    return c.json(
      {
        status: publishes ? "ready" : "not_ready",
        version,
        components: {
          database: { status: "healthy", latency_ms: latency },
          queue: { status: publishes ? "healthy" : "unhealthy" },
        },
      },
      publishes ? 200 : 503,
    );
  });
  return app;
}
