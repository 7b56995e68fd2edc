import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Log } from "../../../machines/contracts/ports/clock.ts";
import type { StepRecord } from "../../../machines/contracts/domain/record.ts";
import { createConsole } from "../serve.ts";
import type { Feed } from "./feed.ts";
import { outline } from "./outline.ts";
import { serveStately } from "./stately.ts";
import { streamOf } from "./stream.ts";
import { detailOf, recordOf, timelineOf } from "./timeline.ts";

export interface InspectorOptions {
  feed: Feed;
  /** Definitions of machines as XState has them, by name. */
  machines: Readonly<Record<string, { definition: object; config: object }>>;
  /** What is kept of a step, whoever works on it. */
  find: (key: { runId: string; stepId: string }) => Promise<StepRecord | null>;
  host: string;
  /** 0 for any free one. */
  port: number;
  /** Takes this process's own secrets out of a text. */
  hide: (text: string) => string;
  log: Log;
}

export interface Inspector {
  /** With the token that opens it, in the fragment: browsers send that to nobody. */
  readonly address: string;
  readonly url: string;
  readonly token: string;
  close(): Promise<void>;
}

/**
 * The page that looks at this process's machines, and what it is told. All that anybody may read is the page itself;
 * everything about the machines needs the token, which is made anew at each start and is sent as a header by the page
 * alone. Requests for another host (a name that was made to point here) and from pages of another origin are refused.
 *
 * @throws Error with a code, such as EADDRINUSE, when the address can't be had
 */
export async function startInspector(options: InspectorOptions): Promise<Inspector> {
  const { feed, machines, find, host, port: wanted, hide, log } = options;
  const token = randomBytes(24).toString("base64url");
  const definitions = Object.fromEntries(
    Object.entries(machines).map(([name, { definition }]) => [name, definition]),
  );
  const site = createConsole({ machines: definitions, page: "inspect" });
  const stream = streamOf(feed);
  const shown = (value: unknown) => outline(value, hide);

  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => {
      log.warn({ err: error }, "the inspector could not answer");
      if (!response.headersSent) refuse(response, 500, "this can't be shown; the log says why");
      else response.destroy();
    });
  });
  server.headersTimeout = 10_000;
  server.maxConnections = 200;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const foreign = refusal(request, hosts);
    if (foreign !== null) return refuse(response, 403, foreign);
    const url = targetOf(request);
    if (url === null) return refuse(response, 400, "expected a path, such as /");
    if (!url.pathname.startsWith("/inspect/")) return page(site, url, request, response);
    if (!isOpen(request.headers.authorization?.replace(/^Bearer /, ""), token))
      return refuse(response, 401, "expected the token of the address that was printed at start");
    if (request.method !== "GET") return refuse(response, 405, "expected GET");
    const [, , what = "", id = "", inner = "", nth = ""] = url.pathname.split("/");
    if (what === "stream") return stream.open(request, response);
    const { searchParams } = url;
    if (what === "record") {
      const key = { runId: searchParams.get("run") ?? "", stepId: searchParams.get("step") ?? "" };
      const record = await find(key);
      return record === null
        ? refuse(response, 404, "the store keeps nothing of such a step")
        : send(response, shown(recordOf(record)));
    }
    const entry = what === "actors" ? feed.entry(Number(id)) : null;
    if (entry === null) return refuse(response, 404, "this is no longer kept");
    if (inner === "") return send(response, timelineOf(feed, entry));
    const detail = inner === "moments" ? detailOf(entry, Number(nth)) : null;
    if (detail === null) return refuse(response, 404, "this moment is no longer kept");
    return send(response, shown(detail));
  }

  const stately = serveStately({
    feed,
    server,
    machines,
    shown,
    mayConnect: (request) => {
      const url = targetOf(request);
      if (url?.pathname !== "/stately/socket" || refusal(request, hosts) !== null) return false;
      return isOpen(url.searchParams.get("token"), token);
    },
  });
  server.listen(wanted, host);
  await once(server, "listening");
  const { port, family, address } = server.address() as AddressInfo;
  const isWild = address === "0.0.0.0" || address === "::";
  const name = isWild ? "127.0.0.1" : family === "IPv6" ? `[${address}]` : address;
  const names = ["127.0.0.1", "localhost", "[::1]", name, host];
  const hosts = isWild ? null : new Set(names.map((one) => `${one}:${port}`.toLowerCase()));
  const url = `http://${name}:${port}`;
  return {
    url,
    token,
    address: `${url}/#token=${token}`,
    async close() {
      const closed = once(server, "close");
      server.close();
      stream.close();
      stately.close();
      server.closeAllConnections();
      feed.close();
      await closed;
    },
  };
}

/** What is asked for; null where it is no address, such as `//`, which anybody may send and Node hands on as it is. */
const targetOf = ({ url }: IncomingMessage): URL | null =>
  URL.parse(url ?? "/", "http://inspector");

/** Why a request is not answered; null where it may be. Without `hosts` every name leads here. */
function refusal(
  { headers }: Pick<IncomingMessage, "headers">,
  hosts: ReadonlySet<string> | null,
): string | null {
  const host = headers.host?.toLowerCase() ?? "";
  if (hosts !== null && !hosts.has(host))
    return "Host: this is not the address of the inspector; use the one that was printed at start";
  const { origin } = headers;
  if (origin !== undefined && origin.toLowerCase() !== `http://${host}`)
    return "Origin: another page may not read the inspector";
  const site = headers["sec-fetch-site"];
  if (site === "cross-site" && headers["sec-fetch-mode"] !== "navigate")
    return "another page may not read the inspector";
  return null;
}

const digest = (text: string) => createHash("sha256").update(text).digest();

/** Takes as long for a token that is almost right. */
function isOpen(given: string | null | undefined, token: string): boolean {
  return timingSafeEqual(digest(given ?? ""), digest(token));
}

async function page(
  site: ReturnType<typeof createConsole>,
  url: URL,
  { method = "GET" }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const found = site(new Request(url, { method: method === "HEAD" ? "HEAD" : "GET" }));
  if (found === null || (method !== "GET" && method !== "HEAD"))
    return refuse(response, 404, "there is nothing here; the inspector is at /");
  response.writeHead(found.status, Object.fromEntries(found.headers));
  response.end(await found.text());
}

function send(response: ServerResponse, body: unknown): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  response.writeHead(200, headers);
  response.end(JSON.stringify(body));
}

function refuse(response: ServerResponse, status: number, message: string): void {
  const headers = { "content-type": "application/json", "cache-control": "no-store" };
  response.writeHead(status, headers);
  response.end(JSON.stringify({ error: { message } }));
}
