import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";

export interface FaultProxy {
  url: string;
  /** From now on every call fails, and those under way too, for so many milliseconds. */
  goAway(ms: number): void;
  /** No more faults from now on. */
  mend(): void;
  /** Calls so far; those failed before they reached the target; those whose answer was lost. */
  counts(): { calls: number; refused: number; unanswered: number };
  close(): Promise<void>;
}

/** The event stream is no call: it lives until the control plane goes away. */
const isStream = (incoming: IncomingMessage) => incoming.url?.startsWith("/v1/events") === true;

/**
 * Passes HTTP on to `target`, failing a share of the calls: half of those before the target hears of them, half
 * after it has done what was asked, its answer lost.
 */
export async function startFaultProxy(
  target: string,
  share: number,
  random: () => number,
): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const counts = { calls: 0, refused: 0, unanswered: 0 };
  let awayUntil = 0;
  let failing = share;

  const isAway = () => Date.now() < awayUntil;

  const forward = async (incoming: IncomingMessage, response: ServerResponse) => {
    const drawn = isStream(incoming) ? 1 : random();
    counts.calls += 1;
    if (isAway() || drawn < failing / 2) {
      counts.refused += 1;
      // Of both kinds: a server that says so, and one that just hangs up.
      if (isAway() || drawn < failing / 4) incoming.socket.destroy();
      else response.writeHead(503).end();
      return;
    }
    const { method = "GET", url: path = "/", headers } = incoming;
    const outgoing = request({ hostname, port, method, path, headers, agent });
    response.on("close", () => outgoing.destroy());
    const [answer] = (await Promise.all([
      once(outgoing, "response"),
      pipeline(incoming, outgoing),
    ]).then(([event]) => event)) as [IncomingMessage];
    if (isAway() || drawn < failing) {
      counts.unanswered += 1;
      answer.resume();
      incoming.socket.destroy();
      return;
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    await pipeline(answer, response);
  };

  const server = createServer((incoming, response) => {
    forward(incoming, response).catch(() => incoming.socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const own = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${own}`,
    goAway(ms) {
      awayUntil = Date.now() + ms;
      server.closeAllConnections();
    },
    mend() {
      failing = 0;
    },
    counts: () => ({ ...counts }),
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
}
