import type { CallToolRequest, CallToolResult, Tool } from "@modelcontextprotocol/client";
import {
  retryable,
  terminal,
  type Failure,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import {
  type Caller,
  connect,
  type Connection,
  noTimeout,
  RequestTime,
  type Route,
  untilAborted,
} from "./connect.ts";
import type { McpServer } from "./config.ts";
import { isAnswer, readError } from "./results.ts";
import type { ServerIdentity } from "./pins.ts";
import { readTools } from "./list-tools.ts";
import { credentialsOf } from "./transports.ts";

/** Milliseconds; a connection that lived this long starts its back-off anew. */
const soundAfterMs = 30_000;
const longestBackOffMs = 30_000;
/** Milliseconds a server that let a call time out must answer a ping. */
const signOfLifeMs = 5_000;

interface Live {
  connection: Connection;
  since: number;
  tools: Map<string, Tool> | null;
  listing: Promise<Map<string, Tool>> | null;
  calls: number;
  /** Not to be used again; closed when the last call on it has ended. */
  retired: boolean;
}

/**
 * One server and its one connection: opened on first use, shared by all, opened anew on the next use after
 * it was lost. The first time at once, then after a wait that doubles up to half a minute; until it is over,
 * a use fails with the reason and the time left. Expected trouble comes back as a value.
 */
export class ServerConnection {
  readonly name: string;
  /** The names of its tools when it was last asked. */
  lastTools: ReadonlySet<string> = new Set();
  /** Who it said that it is, when it was last reached. */
  identity: ServerIdentity | null = null;
  /** What was left out when its tools were last read, and why. */
  unreadable: ReadonlyMap<string, string> = new Map();
  /** True when the last attempt to connect failed. */
  down = false;
  readonly #server: McpServer;
  readonly #caller: Caller;
  #route: Route | null = null;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #closing = new AbortController();
  #live: Live | null = null;
  #attempt: Promise<Outcome<Live>> | null = null;
  #failures = 0;
  #notBefore = 0;
  #lastFailure: Failure | null = null;
  #listFailures = 0;
  #listNotBefore = 0;
  #listFailure: Failure | null = null;
  readonly #endings = new Set<Promise<void>>();

  constructor(
    server: McpServer,
    options: { clientInfo: { name: string; version: string }; timeoutMs: number; log: Log },
  ) {
    this.name = server.name;
    this.#server = server;
    this.#timeoutMs = options.timeoutMs;
    this.#caller = {
      clientInfo: options.clientInfo,
      credentials: credentialsOf(server),
      timeoutMs: this.#timeoutMs,
    };
    this.#log = options.log;
  }

  /** By name; asked for again after the server said that they changed. */
  async tools(signal: AbortSignal): Promise<Outcome<Map<string, Tool>>> {
    const connected = await this.#connected(signal);
    if (!connected.ok) return connected;
    const live = connected.value;
    if (live.tools !== null) return ok(live.tools);
    const wait = Math.ceil(this.#listNotBefore - performance.now());
    if (live.listing === null && wait > 0 && this.#listFailure !== null) {
      return fail({ ...this.#listFailure, retryAfterMs: wait });
    }
    // Shared by all who ask meanwhile: it has its own time-out and is not cancelled with any caller.
    const listing = (live.listing ??= this.#list(live));
    try {
      const tools = await untilAborted(listing, signal);
      this.lastTools = new Set(tools.keys());
      // Not kept when the server said meanwhile that its tools changed.
      if (live.listing === listing) live.tools = tools;
      return ok(tools);
    } catch (error) {
      if (!signal.aborted && live.listing === listing) live.listing = null;
      const timedOut = !signal.aborted && error instanceof DOMException;
      const failure = this.#readError(error, live, "the list of tools", true, signal, timedOut);
      return fail(signal.aborted ? failure : this.#listFailed(failure));
    }
  }

  async #list(live: Live): Promise<Map<string, Tool>> {
    const time = new RequestTime(this.#timeoutMs, this.#closing.signal);
    try {
      const unreadable = new Map<string, string>();
      const reading = readTools(live.connection.client, time.signal, (tool, problem) => {
        unreadable.set(tool, problem);
        this.#log.warn({ server: this.name, tool, problem }, "MCP tool left out: it can't be read");
      });
      const tools = await untilAborted(reading, time.signal);
      this.unreadable = unreadable;
      this.down = false;
      this.#listFailures = 0;
      return tools;
    } finally {
      time.settle();
    }
  }

  /** A server that doesn't list its tools is as good as down: the others need not wait for it each time. */
  #listFailed(failure: Failure): Failure {
    this.down = true;
    this.#listFailures += 1;
    this.#listFailure = failure;
    const wait = Math.min(longestBackOffMs, 250 * 2 ** Math.min(this.#listFailures, 20));
    this.#listNotBefore = performance.now() + wait;
    this.#log.warn({ server: this.name, problem: failure.message }, "MCP server lists no tools");
    return failure;
  }

  /**
   * One call of one tool, as it was listed. A tool's own error is in the result. Progress that the server shows
   * prolongs the call, up to a bound.
   */
  async call(
    tool: Tool,
    params: CallToolRequest["params"],
    safeToRepeat: boolean,
    signal: AbortSignal,
  ): Promise<Outcome<CallToolResult>> {
    const connected = await this.#connected(signal);
    if (!connected.ok) return connected;
    const live = connected.value;
    if (live.tools?.get(tool.name) !== tool) {
      // Another connection, or another list, than the one that was looked at: the tool may be another too.
      const message = `MCP server "${this.name}" changed while its tool "${tool.name}" was looked at`;
      return fail(retryable("unavailable", message));
    }
    const time = new RequestTime(this.#timeoutMs, signal);
    live.calls += 1;
    try {
      const { name, inputSchema } = tool;
      const options = {
        signal: time.signal,
        timeout: noTimeout,
        onprogress: () => time.progress(),
        // What the SDK takes headers from. Without its output schema, which is checked by ours, in a linear engine.
        toolDefinition: { name, inputSchema },
      };
      return ok(await live.connection.client.callTool(params, options));
    } catch (error) {
      return fail(
        this.#readError(error, live, `tool "${params.name}"`, safeToRepeat, signal, time.isOver),
      );
    } finally {
      time.settle();
      live.calls -= 1;
      if (live.retired && live.calls === 0) this.#endLater(live);
    }
  }

  /** Bounded; leaves no process behind. Calls still under way fail. */
  async close(): Promise<void> {
    this.#closing.abort();
    const live = this.#live;
    this.#live = null;
    if (live !== null) this.#endLater(live);
    await this.#attempt;
    await Promise.all(this.#endings);
  }

  /** The caller's signal ends the caller's waiting, not the attempt, which others may share. */
  async #connected(signal: AbortSignal): Promise<Outcome<Live>> {
    const cutShort = terminal("cancelled", `waiting for MCP server "${this.name}" was cut short`);
    if (signal.aborted) return fail(cutShort);
    if (this.#closing.signal.aborted) {
      return fail(terminal("unavailable", `MCP server "${this.name}" was closed by us`));
    }
    if (this.#live !== null) return ok(this.#live);
    const wait = Math.ceil(this.#notBefore - performance.now());
    if (this.#attempt === null && wait > 0 && this.#lastFailure !== null) {
      return fail({ ...this.#lastFailure, retryAfterMs: wait });
    }
    this.#attempt ??= this.#connect().finally(() => {
      this.#attempt = null;
    });
    return untilAborted(this.#attempt, signal).catch(() => fail(cutShort));
  }

  async #connect(): Promise<Outcome<Live>> {
    const deadline = AbortSignal.timeout(this.#timeoutMs);
    const listeners = {
      log: this.#log,
      onToolsChanged: () => {
        if (this.#live !== null) Object.assign(this.#live, { tools: null, listing: null });
      },
      onClosed: () => this.#lost(live),
    };
    let live: Live | null = null;
    try {
      const signal = AbortSignal.any([deadline, this.#closing.signal]);
      const connection = await connect(this.#server, this.#caller, this.#route, listeners, signal);
      this.#route = connection.route;
      live = {
        connection,
        since: performance.now(),
        tools: null,
        listing: null,
        calls: 0,
        retired: false,
      };
      this.identity = connection.client.getServerVersion() ?? null;
      if (connection.ending() !== null) throw new Error("it ended at once");
    } catch (error) {
      // It may speak otherwise by now.
      this.#route = null;
      const failure = readError(error, {
        what: `MCP server "${this.name}"`,
        aborted: this.#closing.signal.aborted,
        timedOutAfterMs: deadline.aborted ? this.#timeoutMs : null,
        ending: error instanceof Error && error.cause !== undefined ? error.message : null,
        safeToRepeat: true,
      });
      return fail(this.#failed(asUnavailable(failure)));
    }
    this.#live = live;
    this.down = this.#listFailures > 0;
    return ok(live);
  }

  #failed(failure: Failure): Failure {
    this.down = true;
    this.#log.warn({ server: this.name, problem: failure.message }, "MCP server not available");
    this.#backOff(failure);
    return failure;
  }

  #lost(live: Live | null): void {
    if (live === null || live !== this.#live) return;
    this.#live = null;
    const reason = live.connection.ending() ?? "the connection was lost";
    this.#log.warn({ server: this.name, reason }, "MCP server was lost");
    if (performance.now() - live.since > soundAfterMs) this.#failures = 0;
    this.#backOff(retryable("unavailable", `MCP server "${this.name}" was lost: ${reason}`));
  }

  #backOff(failure: Failure): void {
    this.#failures += 1;
    this.#lastFailure = failure;
    const wait = this.#failures === 1 ? 0 : 250 * 2 ** Math.min(this.#failures, 20);
    this.#notBefore = performance.now() + Math.min(longestBackOffMs, wait);
  }

  #readError(
    error: unknown,
    live: Live,
    what: string,
    safeToRepeat: boolean,
    signal: AbortSignal,
    isTimeOver: boolean,
  ): Failure {
    const ending = live.connection.ending();
    const timedOut = !signal.aborted && isTimeOver;
    if (timedOut) void this.#probe(live);
    else if (!signal.aborted && !isAnswer(error) && this.#server.url !== undefined) {
      // An HTTP transport never says that the other side, or our session there, is gone.
      this.#retire(live);
    }
    return readError(error, {
      what: `${what} of MCP server "${this.name}"`,
      aborted: signal.aborted,
      timedOutAfterMs: timedOut ? this.#timeoutMs : null,
      ending,
      safeToRepeat,
    });
  }

  /** A server that let a call time out and answers no ping either would fail every later call as slowly. */
  async #probe(live: Live): Promise<void> {
    const signal = AbortSignal.timeout(Math.min(signOfLifeMs, this.#timeoutMs));
    const ping = live.connection.client.ping({ signal, timeout: noTimeout });
    const alive = await untilAborted(ping, signal).then(
      () => true,
      (error: unknown) => isAnswer(error) && !signal.aborted,
    );
    if (alive || live !== this.#live) return;
    this.#lost(live);
    this.#endLater(live);
  }

  #retire(live: Live): void {
    this.#lost(live);
    live.retired = true;
    if (live.calls === 0) this.#endLater(live);
  }

  #endLater(live: Live): void {
    const ending = live.connection.close().finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
  }
}

/** Whatever kept us from a server (unless we were refused or cancelled), it may be there the next time. */
function asUnavailable(failure: Failure): Failure {
  if (failure.kind === "unauthorized" || failure.kind === "cancelled") return failure;
  return retryable("unavailable", failure.message);
}
