import {
  Client,
  type PriorDiscovery,
  type RequestOptions,
  SdkError,
  SdkErrorCode,
  SdkHttpError,
} from "@modelcontextprotocol/client";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { McpServer } from "./server-options.ts";
import {
  type Credentials,
  openTransport,
  type TransportKind,
  transportKinds,
} from "./transports.ts";

export interface Connection {
  client: Client;
  /** How this server is reached, for the next connection to it. */
  route: Route;
  /** Why the connection is over, for a person; null while it stands. */
  ending(): string | null;
  /** Bounded, never rejects; a child process and all it started are gone afterwards. */
  close(): Promise<void>;
}

/** What was learnt of a server by a connection to it. */
export interface Route {
  kind: TransportKind;
  /** Whether it speaks the protocol with a handshake (up to 2025-11-25), so that it need not be asked again. */
  isHandshake: boolean;
}

export interface Listeners {
  log: Log;
  onToolsChanged(): void;
  onClosed(): void;
}

export interface Caller {
  clientInfo: { name: string; version: string };
  credentials: Credentials | null;
  /** Milliseconds that a connect may take; a child that doesn't answer what it doesn't know gets a third of it. */
  timeoutMs: number;
}

/**
 * Opens a connection, finding out how the server is to be spoken to where that is not known: first by
 * `server/discover`, the protocol's stateless revisions; then by the handshake of those before. What was started for an
 * attempt that fails is ended before this rejects.
 *
 * @param known how an earlier connection reached it
 * @throws whatever the transport or the SDK throws, and the signal's reason
 */
export async function connect(
  server: McpServer,
  caller: Caller,
  known: Route | null,
  listeners: Listeners,
  signal: AbortSignal,
): Promise<Connection> {
  const kinds = known === null ? transportKinds(server) : [known.kind];
  for (const kind of kinds) {
    const isLast = kind === kinds.at(-1);
    const isHandshake = kind === "sse" || known?.isHandshake === true;
    try {
      return await attempt(server, caller, { kind, isHandshake }, listeners, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (!isLast && isOlderTransport(error)) continue;
      if (kind === "stdio" && !isHandshake && endedWhenAsked(error)) {
        return attempt(server, caller, { kind, isHandshake: true }, listeners, signal);
      }
      throw error;
    }
  }
  throw new Error(`no transport for MCP server "${server.name}"`);
}

/** A server of the older transport knows no POST to its address. */
function isOlderTransport(error: unknown): boolean {
  return error instanceof SdkHttpError && [400, 404, 405].includes(error.status);
}

/** Some servers end when they are asked anything before the handshake. */
function endedWhenAsked(error: unknown): boolean {
  const first = error instanceof Error ? (error.cause ?? error) : error;
  return first instanceof SdkError && first.code === SdkErrorCode.EraNegotiationFailed;
}

async function attempt(
  server: McpServer,
  caller: Caller,
  route: Route,
  listeners: Listeners,
  signal: AbortSignal,
): Promise<Connection> {
  const { log } = listeners;
  const about = { server: server.name };
  let ended: string | null = null;
  const opened = openTransport(server, route.kind, caller.credentials, log);
  const { transport, ending } = opened;
  const probe = route.kind === "stdio" ? { timeoutMs: Math.ceil(caller.timeoutMs / 3) } : {};
  const client = new Client(caller.clientInfo, { versionNegotiation: { mode: "auto", probe } });
  Object.assign(client, {
    onerror: (error: Error) =>
      log.debug({ ...about, problem: error.message }, "MCP transport error"),
    onclose: () => {
      ended ??= "the connection was closed";
      listeners.onClosed();
    },
  });
  client.setNotificationHandler("notifications/tools/list_changed", listeners.onToolsChanged);
  const close = async (): Promise<void> => {
    await opened.farewell();
    await transport.close().catch(() => undefined);
  };
  const prior: { prior?: PriorDiscovery } = route.isHandshake ? { prior: { kind: "legacy" } } : {};
  try {
    // Without the signal: the protocol forbids to cancel `initialize`; what is given up is ended instead.
    await untilAborted(client.connect(transport, { timeout: noTimeout, ...prior }), signal);
  } catch (error) {
    const reason = ending();
    await close();
    throw reason === null ? error : new Error(reason, { cause: error });
  }
  opened.established();
  const isHandshake = client.getProtocolEra() === "legacy";
  if (!isHandshake) void subscribe(client, listeners, () => ended !== null || ending() !== null);
  return {
    client,
    route: { kind: route.kind, isHandshake },
    ending: () => ending() ?? ended,
    close,
  };
}

/** Milliseconds before a lost stream of changes is asked for again; it doubles up to a minute. */
const listenAgain = { first: 1_000, most: 60_000 };

/** A stateless server tells of changes on a stream that is asked for; while there is none, each list may be old. */
async function subscribe(
  client: Client,
  listeners: Listeners,
  isOver: () => boolean,
): Promise<void> {
  if (client.getServerCapabilities()?.tools?.listChanged !== true) return;
  for (let wait = listenAgain.first; !isOver(); wait = Math.min(wait * 2, listenAgain.most)) {
    try {
      const subscription = await client.listen({ toolsListChanged: true });
      wait = listenAgain.first;
      if ((await subscription.closed) === "local") return;
    } catch {
      // The server was told about already where it matters: by the failure of the next call.
    }
    if (isOver()) return;
    listeners.onToolsChanged();
    await new Promise((resolve) => setTimeout(resolve, wait).unref());
  }
}

/** Milliseconds, the most a Node timer takes, where a signal of ours is the deadline. */
export const noTimeout = 2_147_483_647;

/**
 * The time that one request has: so long after the last sign of progress, which the SDK counts, and never longer than
 * the most, which the SDK would not tell the server of. Its signal is the request's own and is unlinked when it settles.
 */
export class RequestTime {
  readonly #own = new AbortController();
  readonly #callers: AbortSignal;
  readonly #begun = performance.now();
  readonly #mostMs: number;
  readonly #idleMs: number;
  #limit: NodeJS.Timeout | null = null;
  #isOver = false;

  constructor(idleMs: number, mostMs: number, callers: AbortSignal) {
    this.#idleMs = Math.min(idleMs, mostMs);
    this.#mostMs = mostMs;
    this.#callers = callers;
    if (callers.aborted) this.handleEvent();
    else callers.addEventListener("abort", this);
  }

  /** For one request, as the SDK takes it. */
  get options(): RequestOptions {
    return {
      signal: this.#own.signal,
      timeout: this.#idleMs,
      resetTimeoutOnProgress: true,
      onprogress: this.#progress,
    };
  }

  get signal(): AbortSignal {
    return this.#own.signal;
  }

  /** Whether the request failed because its time was over. */
  endedBy(error: unknown): boolean {
    if (this.#isOver) return true;
    return (
      !this.#own.signal.aborted &&
      error instanceof SdkError &&
      error.code === SdkErrorCode.RequestTimeout
    );
  }

  /** Milliseconds since it began, in whole ones. */
  takenMs(): number {
    return Math.round(performance.now() - this.#begun);
  }

  settle(): void {
    if (this.#limit !== null) clearTimeout(this.#limit);
    this.#callers.removeEventListener("abort", this);
  }

  /** The caller gives up. */
  handleEvent(): void {
    this.#own.abort(this.#callers.reason);
  }

  /** The server shows that it works on the request. */
  readonly #progress = (): void => {
    const left = this.#mostMs - (performance.now() - this.#begun);
    // The SDK gives it a whole idle time from now on.
    if (left >= this.#idleMs || this.#limit !== null) return;
    this.#limit = setTimeout(
      () => {
        this.#isOver = true;
        this.#own.abort(new DOMException("the request took too long", "TimeoutError"));
      },
      Math.max(left, 0),
    );
  };
}

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
