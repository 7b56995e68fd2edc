import { type } from "arktype";
import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { Plane } from "../changes/change.ts";
import { readBody } from "./request.ts";

const heartbeatMs = 15_000;
/** A reader this far behind is cut off, and may connect again. */
const mostUnread = 1000;

/** Of text that is only shown; a reader this far behind misses some of it. */
const mostUnreadText = 500;

export const saidTexts = type({
  texts: type({ run_id: "string", step_id: "string", text: "string", "restart?": "boolean" })
    .array()
    .atMostLength(1000),
});

/** `/v1/events`: each change of a run's status as a server-sent event `run`, each step that is to stop as `stop`, and what its models say as events `text`. */
export function eventRoutes({ events, store }: Plane): Hono {
  const app = new Hono();
  // What models say in a worker. Nothing is kept of it, and what is of no step of the run it names is passed over.
  app.post("/text", async (c) => {
    const { texts } = await readBody(c, saidTexts);
    for (const { run_id: runId, step_id: stepId, text, restart = false } of texts) {
      if (store.steps.find(stepId)?.runId !== runId) continue;
      events.tellText({ runId, stepId, text, restart });
    }
    return c.json({ taken: true }, 202);
  });
  app.get("/", (c) =>
    streamSSE(c, async (stream) => {
      let unread = 0;
      let over = () => {};
      await new Promise<void>((resolve) => {
        const send = (written: Promise<unknown>) => {
          if (++unread > mostUnread) resolve();
          written.then(() => unread--, resolve);
        };
        const end = events.subscribe({
          onChange: ({ runId, status }) =>
            send(
              stream.writeSSE({ event: "run", data: JSON.stringify({ run_id: runId, status }) }),
            ),
          onText: ({ runId, stepId, text, restart }) => {
            if (unread >= mostUnreadText) return;
            const more = restart ? { restart } : {};
            const data = JSON.stringify({ run_id: runId, step_id: stepId, text, ...more });
            send(stream.writeSSE({ event: "text", data }));
          },
          onStop: ({ runId, stepId }) => {
            const data = JSON.stringify({ run_id: runId, step_id: stepId });
            send(stream.writeSSE({ event: "stop", data }));
          },
          onClose: resolve,
        });
        const heartbeat = setInterval(() => send(stream.write(": heartbeat\n\n")), heartbeatMs);
        over = () => {
          clearInterval(heartbeat);
          end();
        };
        stream.onAbort(resolve);
        send(stream.write(": connected\n\n"));
      });
      over();
    }),
  );
  return app;
}

export const apiVersion = "0.1.0";
/** What goes beyond FerrumDeck; see `Extension` of the control plane's port. `steps`: runs that name their steps; `workflows`: where they are run. */
const extensions = [
  "idempotent-results",
  "approvals",
  "events",
  "steps",
  "budget-reservations",
  "step-texts",
];

/** `/health` and `/ready`, which need no key. */
export function healthRoutes({ store, outbox, workflows, steps }: Plane): Hono {
  const app = new Hono();
  app.get("/health", (c) =>
    c.json({
      status: "healthy",
      version: apiVersion,
      extensions: [
        ...extensions,
        ...(workflows === null ? [] : ["workflows"]),
        ...(steps === null ? [] : ["dead-letters", "step-records"]),
      ],
    }),
  );
  app.get("/ready", (c) => {
    const since = performance.now();
    store.outbox.first(1);
    const latency = Math.round(performance.now() - since);
    const publishes = !outbox.failing();
    return c.json(
      {
        status: publishes ? "ready" : "not_ready",
        version: apiVersion,
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
