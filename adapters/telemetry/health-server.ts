import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** One thing that a worker needs to take jobs. */
export interface HealthCheck {
  name: string;
  /** False where the worker takes jobs all the same; true when left out. */
  isRequired?: boolean;
  /** Null when all is well, else why not. Must not reject. */
  look: () => Promise<string | null> | string | null;
}

export interface HealthServer {
  /** `http://HOST:PORT`. */
  url: string;
  close(): Promise<void>;
}

const checkWithinMs = 2_000;

/**
 * What orchestrators and scrapers ask of a worker, all without a key, and all without a name or a content of anybody's:
 *
 *   /healthz   200 while the event loop turns: nothing is looked at
 *   /readyz    200 when each required check is well, else 503; as JSON, each check with its trouble
 *   /metrics   Prometheus' text format
 *
 * @throws Error with a code, such as EADDRINUSE, when the address can't be had
 */
export async function startHealthServer({
  host,
  port,
  checks,
  metrics,
}: {
  host: string;
  port: number;
  checks: () => readonly HealthCheck[];
  metrics: () => Promise<string>;
}): Promise<HealthServer> {
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").split("?", 1)[0];
    if (request.method !== "GET" && request.method !== "HEAD") {
      answer(response, 405, { error: "expected GET" });
    } else if (path === "/healthz") {
      answer(response, 200, { status: "ok" });
    } else if (path === "/readyz") {
      void lookAt(checks()).then((found) => {
        const isReady = found.every(({ problem, required }) => problem === null || !required);
        const status = isReady ? "ready" : "not ready";
        answer(response, isReady ? 200 : 503, { status, checks: found });
      });
    } else if (path === "/metrics") {
      void metrics().then(
        (text) => {
          response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
          response.end(text);
        },
        () => answer(response, 500, { error: "metrics can't be read now" }),
      );
    } else {
      answer(response, 404, { error: "expected /healthz, /readyz or /metrics" });
    }
  });
  server.headersTimeout = 5_000;
  server.requestTimeout = 5_000;
  server.maxConnections = 100;
  server.listen(port, host);
  await once(server, "listening");
  const { address, family, port: bound } = server.address() as AddressInfo;
  return {
    url: `http://${family === "IPv6" ? `[${address}]` : address}:${bound}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

const lookAt = (checks: readonly HealthCheck[]) =>
  Promise.all(
    checks.map(async ({ name, isRequired: required = true, look }) => {
      const { promise: late, resolve } = Promise.withResolvers<string>();
      const timer = setTimeout(() => resolve("no answer in time"), checkWithinMs);
      try {
        return { name, required, problem: await Promise.race([look(), late]) };
      } finally {
        clearTimeout(timer);
      }
    }),
  );

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json", "cache-control": "no-store" });
  response.end(`${JSON.stringify(body)}\n`);
}
