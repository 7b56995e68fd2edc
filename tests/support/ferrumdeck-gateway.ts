import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  apiKey,
  approve,
  cancel,
  republish,
  enqueue,
  expire,
  gateway,
  type Known,
  overLimit,
  type QueuedJob,
  refusedBody,
  reject,
} from "./ferrumdeck-rules.ts";
import { listen } from "./listen.ts";

export interface SeenRequest {
  method: string;
  /** Without the query. */
  path: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  /** Parsed; null where there was none. */
  body: unknown;
  /** The client's own port: requests over one connection have the same. */
  port: number;
}

export interface GatewayAnswer {
  status: number;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  body: unknown;
  /** Sent as it is, in the place of `body`. */
  text?: string;
  /** Nothing is sent: the connection breaks, or stays silent for ever. */
  lost?: "broken" | "silent";
}

export interface GatewayOptions {
  /** What policy says of a tool; of every other it says no. */
  verdicts?: Record<string, "allow" | "deny" | "ask">;
  /** A proxy in front: an answer given here takes the place of the gateway's own, which never hears the call. */
  failing?: (request: SeenRequest) => GatewayAnswer | null | undefined;
  /** A proxy on the way back: the gateway has acted, and this answers in its place. */
  altering?: (request: SeenRequest, answer: GatewayAnswer) => GatewayAnswer | null | undefined;
  /** Where jobs go: of runs made by POST /v1/runs, and of approved steps. */
  publish?: (fields: Record<string, string>) => void;
  /** Calls in sixty seconds, over all who call: 20 as shipped. */
  perMinute?: number;
  /** Before 0.6 its check-tool denied everything. */
  deniesAllTools?: boolean;
  /** From 0.8 on it has an event channel a run. */
  hasChannels?: boolean;
}

export interface FerrumDeckGateway {
  url: string;
  apiKey: string;
  /** Every request in order, refused ones too. */
  requests: SeenRequest[];
  /** A person's yes: step and run are `running`, and the step is enqueued again, its approval step as `human`. */
  approve(runId: string, stepId: string): void;
  /** A person's no: step and run are `failed`, and nobody is told. */
  reject(runId: string, stepId: string): void;
  /** Nobody answered: the run is `failed`, the step still waits, and nobody is told. */
  expire(runId: string): void;
  /** Makes the run and the step known, and enqueues the step's job. */
  enqueue(job: QueuedJob): void;
  /** The same after somebody has cancelled the run: the job is left on the stream. */
  cancelAndEnqueue(job: QueuedJob): void;
  /** The job once more, as a stream that is read again from its start has it. */
  republish(job: QueuedJob): void;
  cancel(runId: string): void;
  run(runId: string): JsonObject | undefined;
  steps(runId: string): JsonObject[];
  /** Every status that the run took, in order. */
  history(runId: string): string[];
  /** The step results that were taken, in order. */
  results(): { runId: string; stepId: string; body: JsonObject }[];
  close(): Promise<void>;
}

const bodyLimit = 2 * 1024 * 1024;

/**
 * Answers as FerrumDeck's gateway does, its faults included: no extensions, statuses
 * without underscores, no terminal state is guarded, later results overwrite earlier ones, a tool that is not allowed
 * blocks the run, U+0000 is answered 500 and a lone surrogate 400, an approved approval step comes back as `human`, and
 * rejection and expiry are told to nobody. Runs `run_…` and steps `stp_…` are known as soon as they are named; other
 * ids are not.
 */
export async function startFerrumDeckGateway(
  options: GatewayOptions = {},
): Promise<FerrumDeckGateway> {
  const requests: SeenRequest[] = [];
  const channels = new Map<string, Set<ServerResponse>>();
  const known: Known = {
    runs: new Map(),
    steps: new Map(),
    results: [],
    verdicts: options.verdicts ?? {},
    deniesAllTools: options.deniesAllTools === true,
    history: new Map(),
    publish: options.publish ?? (() => {}),
    changed: (runId) => {
      for (const response of channels.get(runId) ?? []) {
        response.write(
          `id: 1\nevent: message\ndata: {"type":"run.changed","channel":"run:${runId}"}\n\n`,
        );
      }
    },
  };
  const isOverLimit = createLimit(options.perMinute);
  const server = createServer((incoming, response) => {
    void respond(incoming, response);
  });
  const respond = async (incoming: IncomingMessage, response: ServerResponse) => {
    const { request, refused } = await readRequest(incoming);
    requests.push(request);
    const channel = /^\/v1\/events\/run%3A([^/]+)$|^\/v1\/events\/run:([^/]+)$/.exec(request.path);
    let answer = options.failing?.(request);
    if (!answer && options.hasChannels === true && channel !== null) {
      openChannel(channels, channel[1] ?? channel[2] ?? "", response);
      return;
    }
    answer ??= isOverLimit(request) ?? refused ?? gateway(request, known);
    answer = options.altering?.(request, answer) ?? answer;
    if (answer.lost === "silent") return;
    if (answer.lost === "broken") {
      incoming.socket.destroy();
      return;
    }
    const { status, headers, body, text } = answer;
    const type = text === undefined ? "application/json" : "text/html";
    response.writeHead(status, { "content-type": type, ...headers });
    response.end(text ?? JSON.stringify(body));
  };
  return {
    url: `http://127.0.0.1:${await listen(server)}`,
    apiKey,
    requests,
    approve: (runId, stepId) => approve(runId, stepId, known),
    reject: (runId, stepId) => reject(runId, stepId, known),
    expire: (runId) => expire(runId, known),
    enqueue: (job) => enqueue(job, known),
    cancelAndEnqueue: (job) => {
      enqueue(job, { ...known, publish: () => {} });
      cancel(job.runId, known);
      republish(job, known);
    },
    republish: (job) => republish(job, known),
    cancel: (runId) => cancel(runId, known),
    run: (runId) => known.runs.get(runId),
    steps: (runId) => [...known.steps.values()].filter((step) => step["run_id"] === runId),
    history: (runId) => known.history.get(runId) ?? [],
    results: () => known.results,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

function openChannel(
  channels: Map<string, Set<ServerResponse>>,
  runId: string,
  response: ServerResponse,
): void {
  const open = channels.get(runId) ?? new Set();
  channels.set(runId, open.add(response));
  response.on("close", () => open.delete(response));
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.write(`event: message\ndata: {"type":"stream.connected","channel":"run:${runId}"}\n\n`);
}

/** A sliding window over all calls of the API, as the gateway keeps it for callers without a known address. */
function createLimit(perMinute: number | undefined) {
  const times: number[] = [];
  return ({ path }: SeenRequest): GatewayAnswer | null => {
    if (perMinute === undefined || !path.startsWith("/v1/")) return null;
    const now = Date.now();
    while ((times[0] ?? now) <= now - 60_000) times.shift();
    if (times.length < perMinute) {
      times.push(now);
      return null;
    }
    const seconds = Math.max(1, Math.ceil(((times[0] ?? now) + 60_000 - now) / 1000));
    const limited = {
      code: "RATE_LIMIT_EXCEEDED",
      message: "Rate limit exceeded",
      retry_after: seconds,
    };
    return { status: 429, headers: { "retry-after": String(seconds) }, body: { error: limited } };
  };
}

async function readRequest(incoming: IncomingMessage) {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks);
  const url = new URL(incoming.url ?? "/", "http://gateway");
  const body = parse(text.toString());
  const request: SeenRequest = {
    method: incoming.method ?? "",
    path: url.pathname,
    query: Object.fromEntries(url.searchParams),
    headers: incoming.headers as Record<string, string>,
    body: body ?? null,
    port: incoming.socket.remotePort ?? 0,
  };
  if (text.length > bodyLimit) return { request, refused: overLimit };
  return { request, refused: refusedBody(body) };
}

function parse(text: string): unknown {
  if (text === "") return null;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
