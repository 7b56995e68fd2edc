import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { ChildTransport } from "./child-transport.ts";
import { boundedFetch } from "./bounded-http.ts";
import type { McpServer } from "./config.ts";

/** Milliseconds that an HTTP server has to hear that its session is over. */
const farewellMs = 1_000;

export interface Connection {
  client: Client;
  /** Why the connection is over, for a person; null while it stands. */
  ending(): string | null;
  /** Bounded, never rejects; a child process and all it started are gone afterwards. */
  close(): Promise<void>;
}

export interface Listeners {
  log: Log;
  onToolsChanged(): void;
  onClosed(): void;
}

/**
 * Opens a connection and shakes hands. What was started for a handshake that fails is ended before this rejects.
 *
 * @throws whatever the transport or the SDK throws, and the signal's reason
 */
export async function connect(
  server: McpServer,
  clientInfo: { name: string; version: string },
  listeners: Listeners,
  signal: AbortSignal,
): Promise<Connection> {
  const { log } = listeners;
  const about = { server: server.name };
  let ended: string | null = null;
  const { transport, ending, farewell } = open(server, log);
  const client = new Client(clientInfo);
  Object.assign(client, {
    onerror: (error: Error) =>
      log.debug({ ...about, problem: error.message }, "MCP transport error"),
    onclose: () => {
      ended ??= "the connection was closed";
      listeners.onClosed();
    },
  });
  client.setNotificationHandler(ToolListChangedNotificationSchema, listeners.onToolsChanged);
  const close = async (): Promise<void> => {
    await farewell();
    await transport.close().catch(() => undefined);
  };
  try {
    // Without the signal: the protocol forbids to cancel `initialize`; what is given up is ended instead.
    await untilAborted(client.connect(transport, { timeout: noTimeout }), signal);
  } catch (error) {
    const reason = ending();
    await close();
    throw reason === null ? error : new Error(reason, { cause: error });
  }
  return { client, ending: () => ending() ?? ended, close };
}

interface Opened {
  transport: Transport;
  ending(): string | null;
  farewell(): Promise<void>;
}

function open(server: McpServer, log: Log): Opened {
  if (server.url === undefined) {
    const transport = new ChildTransport(server, (line) =>
      log.debug({ server: server.name, line }, "MCP server wrote to stderr"),
    );
    return { transport, ending: () => transport.ending, farewell: async () => undefined };
  }
  const transport = new StreamableHTTPClientTransport(new URL(server.url), {
    fetch: boundedFetch,
    ...(server.headers === undefined ? {} : { requestInit: { headers: server.headers } }),
  });
  const farewell = (): Promise<void> =>
    untilAborted(transport.terminateSession(), AbortSignal.timeout(farewellMs)).catch(
      () => undefined,
    );
  // The SDK declares `sessionId: string | undefined` where its own interface has it optional.
  return { transport: transport as Transport, ending: () => null, farewell };
}

/**
 * Milliseconds, the most a Node timer takes. Our deadlines are AbortSignals of our own, because the SDK's
 * timeout is told apart from a server's own error of the same code (-32001) only by its text.
 */
export const noTimeout = 2_147_483_647;

/**
 * The time that one request has: so long after the last sign of progress, and never longer than a multiple of it.
 * Its signal is the request's own and is unlinked when it settles: the SDK keeps its listener on the signal it is
 * given for ever, and would cancel at the server what was long answered.
 */
export class RequestTime {
  readonly #own = new AbortController();
  readonly #unlink: () => void;
  readonly #idleMs: number;
  readonly #until: number;
  #timer: NodeJS.Timeout;
  isOver = false;

  constructor(idleMs: number, callers: AbortSignal) {
    this.#idleMs = idleMs;
    this.#until = performance.now() + idleMs * longestOfIdle;
    this.#timer = setTimeout(() => this.#expire(), idleMs);
    const abort = () => this.#own.abort(callers.reason);
    if (callers.aborted) abort();
    else callers.addEventListener("abort", abort, { once: true });
    this.#unlink = () => callers.removeEventListener("abort", abort);
  }

  get signal(): AbortSignal {
    return this.#own.signal;
  }

  /** The server shows that it works on the request. */
  progress(): void {
    clearTimeout(this.#timer);
    const left = Math.min(this.#idleMs, this.#until - performance.now());
    this.#timer = setTimeout(() => this.#expire(), Math.max(left, 0));
  }

  settle(): void {
    clearTimeout(this.#timer);
    this.#unlink();
  }

  #expire(): void {
    this.isOver = true;
    this.#own.abort(new DOMException("the request took too long", "TimeoutError"));
  }
}

/** A request that shows progress may take so many times its idle time in all. */
const longestOfIdle = 20;

/** The promise's value, or the signal's reason as soon as it aborts. The work itself goes on unheard. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const stop = (): void => aborted.reject(signal.reason);
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop, { once: true });
  // Whichever loses the race may still reject, and nobody would be listening.
  aborted.promise.catch(() => undefined);
  work.catch(() => undefined);
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
