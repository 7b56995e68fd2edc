import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { Plane } from "../plane.ts";

const heartbeatMs = 15_000;
/** A reader this far behind is cut off, and may connect again. */
const mostUnread = 1000;

/** `/v1/events`: each change of a run's status, as server-sent events `run`. */
export function eventRoutes({ events }: Plane): Hono {
  const app = new Hono();
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
