import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import { misanswer, refuseKey } from "./misanswers.ts";

export interface ProxyCounts {
  calls: number;
  /** Failed before they reached the target. */
  refused: number;
  /** Whose answer was lost. */
  unanswered: number;
  /** Answered by something that is not the target, which never heard of them. */
  misanswered: number;
  /** Told that the key is not valid. */
  keyRefused: number;
}

export interface FaultProxy {
  url: string;
  /** From now on every call fails, and those under way too, for so many milliseconds. */
  goAway(ms: number): void;
  /** From now on every call is told that its key is not valid, for so many milliseconds. */
  refuseKeys(ms: number): void;
  /** No more faults from now on. */
  mend(): void;
  counts(): ProxyCounts;
  close(): Promise<void>;
}

/** The event stream is no call: it lives until the control plane goes away. */
const isStream = (incoming: IncomingMessage) => incoming.url?.startsWith("/v1/events") === true;

/**
 * Passes HTTP on to `target`, failing a share of the calls: half of those before the target hears of them, half
 * after it has done what was asked, its answer lost. Another share is answered by something else altogether.
 */
export async function startFaultProxy(
  target: string,
  share: number,
  random: () => number,
): Promise<FaultProxy> {
  const { hostname, port } = new URL(target);
  const agent = new Agent({ keepAlive: true });
  const counts: ProxyCounts = {
    calls: 0,
    refused: 0,
    unanswered: 0,
    misanswered: 0,
    keyRefused: 0,
  };
  let awayUntil = 0;
  let keysRefusedUntil = 0;
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
    if (Date.now() < keysRefusedUntil && path !== "/health") {
      counts.keyRefused += 1;
      return refuseKey(response);
    }
    // Of as many calls again, half are answered by something else.
    if (drawn >= failing && drawn < failing * 1.5) {
      counts.misanswered += 1;
      return misanswer(response, path, random());
    }
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
    refuseKeys(ms) {
      keysRefusedUntil = Date.now() + ms;
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
