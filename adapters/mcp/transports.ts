import {
  type AuthProvider,
  ClientCredentialsProvider,
  isJSONRPCRequest,
  type OAuthClientProvider,
  type RequestId,
  SSEClientTransport,
  type SSEClientTransportOptions,
  SseError,
  StreamableHTTPClientTransport,
  type StreamableHTTPClientTransportOptions,
  type Transport,
  type JSONRPCMessage,
} from "@modelcontextprotocol/client";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { boundedFetch } from "./bounded-http.ts";
import { ChildTransport } from "./child-transport.ts";
import type { McpServer } from "./server-options.ts";
import { Traffic } from "./unasked.ts";

/** Milliseconds that an HTTP server has to hear that its session is over. */
const farewellMs = 1_000;

/** How a server is spoken to: over a child's standard streams, streamable HTTP, or the older transport of two channels. */
export type TransportKind = "stdio" | "http" | "sse";

export interface OpenTransport {
  transport: Transport;
  /** Why the other side is gone, for a person; null while nothing says so. */
  ending(): string | null;
  /** Called once the handshake is over. */
  established(): void;
  /** Tells the other side that we leave. Bounded, never rejects. */
  farewell(): Promise<void>;
}

export type Credentials = AuthProvider | OAuthClientProvider;

/** The kinds of transport to try, in this order: a server whose configuration doesn't say is asked the newer way first. */
export function transportKinds(server: McpServer): TransportKind[] {
  if (server.url === undefined) return ["stdio"];
  return server.transport === undefined ? ["http", "sse"] : [server.transport];
}

/** What proves to a server who we are; kept over its connections, so that a token is asked for once. */
export function credentialsOf({ bearerToken, oauth }: McpServer): Credentials | null {
  if (oauth !== undefined) {
    const { issuer, ...client } = oauth;
    const bound = issuer === undefined ? {} : { expectedIssuer: issuer };
    return new ClientCredentialsProvider({ ...client, ...bound });
  }
  return bearerToken === undefined ? null : { token: async () => bearerToken };
}

export function openTransport(
  server: McpServer,
  kind: TransportKind,
  credentials: Credentials | null,
  log: Log,
): OpenTransport {
  const nothing = { established: () => undefined, farewell: async () => undefined };
  if (kind === "stdio") {
    const transport = new ChildTransport(server, (line) =>
      log.debug({ server: server.name, line }, "MCP server wrote to stderr"),
    );
    return { ...nothing, transport, ending: () => transport.ending };
  }
  const url = new URL(server.url ?? "");
  const traffic = new Traffic((reason) => giveUp(reason));
  const options = {
    fetch: boundedFetch(traffic),
    // The SDK would wait as long as the server says, which may be not at all.
    reconnectionScheduler: (again: () => void, delayMs: number) => {
      const timer = setTimeout(again, traffic.pauseMs(delayMs));
      return () => clearTimeout(timer);
    },
    ...(server.headers === undefined ? {} : { requestInit: { headers: server.headers } }),
    ...(credentials === null ? {} : { authProvider: credentials }),
  };
  let giveUp: (reason: string) => void;
  if (kind === "sse") {
    const transport = new EventsTransport(url, options, traffic);
    giveUp = (reason) => transport.giveUp(reason);
    return {
      transport,
      ending: () => transport.ending,
      established: () => transport.watch(),
      farewell: nothing.farewell,
    };
  }
  const transport = new HttpTransport(url, options, traffic);
  giveUp = (reason) => transport.giveUp(reason);
  const farewell = async (): Promise<void> => {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, farewellMs);
    await Promise.race([transport.terminateSession().catch(() => undefined), late.promise]);
    clearTimeout(timer);
  };
  return {
    transport,
    ending: () => transport.ending,
    established: () => transport.watch(),
    farewell,
  };
}

/** Marks the answer that we give ourselves in place of a server whose stream of an answer ended without one. */
export const streamEnded = { reason: "the connection ended before the answer came" } as const;

/**
 * Streamable HTTP. When the stream of an answer ends without the answer, the SDK's transport says so to nobody and the
 * request would wait until its time is over: here it fails at once.
 */
class HttpTransport extends StreamableHTTPClientTransport {
  ending: string | null = null;
  readonly #waiting = new Set<RequestId>();
  readonly #traffic: Traffic;

  constructor(url: URL, options: StreamableHTTPClientTransportOptions, traffic: Traffic) {
    super(url, options);
    this.#traffic = traffic;
  }

  /** At once: whoever floods us is not heard to the end. */
  giveUp(reason: string): void {
    if (this.ending !== null) return;
    this.ending = reason;
    this.onerror?.(new Error(reason));
    void this.close();
  }

  /** From now on what is answered waits no more. */
  watch(): void {
    const deliver = this.onmessage;
    const onmessage = (message: JSONRPCMessage): void => {
      if ("id" in message && !("method" in message) && message.id !== undefined) {
        this.#waiting.delete(message.id);
      }
      deliver?.(message);
    };
    Object.assign(this, { onmessage });
  }

  override async send(
    message: JSONRPCMessage,
    options?: Parameters<StreamableHTTPClientTransport["send"]>[1],
  ): Promise<void> {
    if (isJSONRPCRequest(message)) this.#traffic.asks(message.id);
    if (!isJSONRPCRequest(message) || options?.onRequestStreamEnd !== undefined) {
      return super.send(message, options);
    }
    const { id } = message;
    this.#waiting.add(id);
    const onRequestStreamEnd = (): void => {
      if (!this.#waiting.delete(id)) return;
      const error = { code: -32_000, message: streamEnded.reason, data: streamEnded };
      this.onmessage?.({ jsonrpc: "2.0", id, error });
    };
    try {
      await super.send(message, { ...options, onRequestStreamEnd });
    } catch (error) {
      this.#waiting.delete(id);
      throw error;
    }
  }
}

/** The older transport: when its one stream of answers breaks, all that waits for an answer waits in vain. */
class EventsTransport extends SSEClientTransport {
  ending: string | null = null;
  readonly #traffic: Traffic;

  constructor(url: URL, options: SSEClientTransportOptions, traffic: Traffic) {
    super(url, options);
    this.#traffic = traffic;
  }

  override async send(message: JSONRPCMessage): Promise<void> {
    if (isJSONRPCRequest(message)) this.#traffic.asks(message.id);
    return super.send(message);
  }

  giveUp(reason: string): void {
    if (this.ending !== null) return;
    this.ending = reason;
    this.onerror?.(new Error(reason));
    void this.close();
  }

  watch(): void {
    const tell = this.onerror;
    const onerror = (error: Error): void => {
      tell?.(error);
      if (!(error instanceof SseError) || this.ending !== null) return;
      this.ending = "its stream of answers broke";
      void this.close();
    };
    Object.assign(this, { onerror });
  }
}
