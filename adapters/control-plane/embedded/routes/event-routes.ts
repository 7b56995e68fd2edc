import { type } from "arktype";
import { type Context, Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { Plane, WholePlane } from "../changes/change.ts";
import { mayReachAll } from "../keys.ts";
import { callerOf } from "./access.ts";
import { ApiError, readBody } from "./request.ts";

/** How soon a stream ends whose key opens nothing any more. */
const tickMs = 1_000;
const heartbeatTicks = 15;
/** Characters: a reader this far behind is cut off, and may connect again. */
const mostUnread = 1024 * 1024;

/** Of text that is only shown; a reader this far behind misses some of it. */
const mostUnreadText = 256 * 1024;
/** Streams of one key: each may hold so much. */
const mostStreams = 256;

export const saidTexts = type({
  texts: type({ run_id: "string", step_id: "string", text: "string", "restart?": "boolean" })
    .array()
    .atMostLength(1000),
});

/** What is told at most of the present state: the newest runs that have not ended. */
const mostOpenRuns = 1000;

/**
 * `/v1/events`: each change of a run's status as a server-sent event `run`, each step that is to stop as `stop`, and what
 * its models say as events `text`. `connected` begins a stream; `missed` begins one that can't go on where `Last-Event-ID`
 * says, with the runs that have not ended, and whether those are all.
 */
export function eventRoutes({ events, rows }: Plane): Hono {
  const app = new Hono();
  // What models say in a worker. Nothing is kept of it, and what is of no step of the run it names is passed over.
  app.post("/text", async (c) => {
    const { texts } = await readBody(c, saidTexts);
    const store = rows(c);
    for (const { run_id: runId, step_id: stepId, text, restart = false } of texts) {
      const run = store.runs.find(runId);
      if (run === undefined || store.steps.find(stepId)?.runId !== run.id) continue;
      events.tellText({ runId, stepId, text, restart, tenantId: run.tenantId });
    }
    return c.json({ taken: true }, 202);
  });
  const begin = (c: Context, lastId: string | undefined): string => {
    const channel = channelOf(c);
    const id = channel.newest();
    if (lastId === undefined) return written({ id, event: "connected", data: {} });
    const missed = channel.after(lastId);
    if (missed !== null) {
      return [...missed, { id, event: "connected", data: {} }].map(written).join("");
    }
    const open = rows(c).runs.open(mostOpenRuns + 1);
    const runs = open
      .filter((_, at) => at < mostOpenRuns)
      .map((run) => ({ run_id: run.id, status: run.status }));
    const data = { runs, complete: open.length <= mostOpenRuns };
    return written({ id, event: "missed", data });
  };
  /** Of other tenants nobody hears. */
  const channelOf = (c: Context) => {
    const caller = callerOf(c);
    return events.channel(mayReachAll(caller) ? null : caller.tenantId);
  };
  /** Streams that are open, by the key. */
  const open = new Map<string, number>();
  app.get("/", (c) => {
    const { id } = callerOf(c);
    const others = open.get(id) ?? 0;
    if (others >= mostStreams) {
      throw new ApiError(429, `key ${id} follows events ${mostStreams} times already: end some`);
    }
    open.set(id, others + 1);
    return streamSSE(c, async (stream) => {
      const isStillOpen = c.get("isStillOpen");
      /** Characters that were sent and not read. */
      let unread = 0;
      let over = () => {};
      await new Promise<void>((resolve) => {
        const send = (text: string) => {
          unread += text.length;
          if (unread > text.length && unread > mostUnread) resolve();
          else stream.write(text).then(() => (unread -= text.length), resolve);
        };
        const end = channelOf(c).subscribe({
          onEvent(event) {
            const text = written(event);
            if (event.id === null && unread > 0 && unread + text.length > mostUnreadText) return;
            send(text);
          },
          onClose: resolve,
        });
        let ticks = 0;
        const clock = setInterval(() => {
          // Revoked, expired or rotated away: a key opens nothing more, what it has opened included.
          if (!isStillOpen()) resolve();
          else if (++ticks % heartbeatTicks === 0) send(": heartbeat\n\n");
        }, tickMs);
        over = () => {
          clearInterval(clock);
          end();
        };
        stream.onAbort(resolve);
        // In one turn with the subscription: nothing comes between what was missed and what is new.
        send(`: connected\n\n${begin(c, c.req.header("last-event-id"))}`);
      });
      over();
      const left = (open.get(id) ?? 1) - 1;
      if (left === 0) open.delete(id);
      else open.set(id, left);
    });
  });
  return app;
}

const written = ({ id, event, data }: { id: string | null; event: string; data: object }) =>
  `${id === null ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

export const apiVersion = "0.1.0";
/** What goes beyond FerrumDeck; see `Extension` of the control plane's port. `steps`: runs that name their steps; `workflows`: where they are run. */
const extensions = [
  "idempotent-results",
  "approvals",
  "events",
  "steps",
  "budget-reservations",
  "step-texts",
  "step-traces",
];

/** `/health` and `/ready`, which need no key. */
export function healthRoutes({ store, outbox, workflows, airlock, steps }: WholePlane): Hono {
  const app = new Hono();
  app.get("/health", (c) =>
    c.json({
      status: "healthy",
      version: apiVersion,
      extensions: [
        ...extensions,
        ...(airlock === null ? [] : ["airlock"]),
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
