import type { Server } from "node:http";
import { type WebSocket, WebSocketServer } from "ws";
import type {
  InspectedActor,
  InspectedMove,
} from "../../../machines/contracts/ports/inspection.ts";
import type { Feed } from "./feed.ts";

/*
 * The same moves in the words of @statelyai/inspect, for Stately's tools: a WebSocket to which its
 * `createWebSocketReceiver` connects, and from which the page /stately hands them on to Stately Inspector.
 *
 *   @xstate.actor     an actor appeared, with its definition
 *   @xstate.event     it was sent an event
 *   @xstate.snapshot  what came of it
 *
 * Each move is written out whole, with its context, so this costs far more than the page of ours: at most `mostPerTick` are
 * sent a tick, and none while the reader has not taken the last ones. What is left out is made good by telling anew of
 * all that are alive.
 */

const version = "0.7.2";
const tickMs = 200;
const mostPerTick = 200;
const mostWaiting = 4 * 1024 * 1024;
const mostReaders = 4;

export interface StatelyOptions {
  feed: Feed;
  server: Server;
  machines: Readonly<Record<string, { config: object }>>;
  /** Whether a connection may be made by this request. */
  mayConnect: (request: Parameters<WebSocketServer["handleUpgrade"]>[0]) => boolean;
  shown: (value: unknown) => unknown;
}

export function serveStately({ feed, server, machines, mayConnect, shown }: StatelyOptions): {
  close(): void;
} {
  const sockets = new WebSocketServer({ noServer: true, maxPayload: 64 * 1024 });
  server.on("upgrade", (request, socket, head) => {
    socket.on("error", () => {});
    if (!mayConnect(request) || sockets.clients.size >= mostReaders) {
      socket.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    sockets.handleUpgrade(request, socket, head, (reader) => tell(reader));
  });
  const definitions = new Map(
    Object.entries(machines).map(([name, { config }]) => [name, JSON.stringify(config, named)]),
  );

  function tell(reader: WebSocket): void {
    const known = new Map<string, InspectedActor>();
    let sent = 0;
    let isBehind = false;
    const send = (message: object) => reader.send(JSON.stringify(message));
    const listener = {
      appeared: (actor: InspectedActor) => void known.set(actor.id, actor),
      moved: (move: InspectedMove) => {
        sent += 1;
        isBehind ||= sent > mostPerTick || reader.bufferedAmount > mostWaiting;
        if (isBehind) return;
        const { id: sessionId, event: type, detail, source, status, at } = move;
        const actor = known.get(sessionId);
        const snapshot = { status, value: nested(move.value), context: shown(move.context) };
        const common = {
          sessionId,
          rootId: "",
          createdAt: String(at),
          id: null,
          _version: version,
        };
        if (actor !== undefined) {
          known.delete(sessionId);
          const definition = definitions.get(actor.machine) ?? JSON.stringify({ id: actor.name });
          const about = { name: actor.name, parentId: actor.parent ?? undefined, definition };
          send({ ...common, type: "@xstate.actor", ...about, snapshot });
        }
        const event = { ...(shown(detail) as object | null), type };
        send({ ...common, type: "@xstate.event", sourceId: source ?? undefined, event });
        send({ ...common, type: "@xstate.snapshot", event, snapshot });
      },
    };
    let stop = feed.listen(listener);
    const tick = setInterval(() => {
      sent = 0;
      if (!isBehind || reader.bufferedAmount > 0) return;
      isBehind = false;
      const again = feed.listen(listener);
      stop();
      stop = again;
    }, tickMs);
    reader.on("error", () => {});
    reader.on("close", () => {
      clearInterval(tick);
      stop();
    });
  }

  return {
    close() {
      for (const reader of sockets.clients) reader.terminate();
      sockets.close();
    },
  };
}

/** A function in a definition, as @statelyai/inspect writes it. */
const named = (_key: string, value: unknown): unknown =>
  typeof value === "function" ? { type: value.name } : value;

/** `executing.working` as XState has it: `{ executing: "working" }`. */
function nested(path: string): unknown {
  const [first = "", ...more] = path.split(".");
  return more.length === 0 ? first : { [first]: nested(more.join(".")) };
}
