import {
  type Failure,
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { type Caller, connect, type Connection, type Route, untilAborted } from "./connect.ts";
import { readError } from "./results.ts";
import type { McpServer } from "./server-options.ts";

/*
 * The one connection to a server, and who owns it when:
 *
 *   idle         nobody has asked for it                                    → connecting: the first use; at once where
 *                                                                             the server is started eagerly
 *   connecting   one attempt, shared by all who wait, cancelled with none   → ready · backing-off: it failed
 *   ready        used by all                                                → backing-off: the child ended, its stream
 *                                                                             broke, it gives no sign of life, it
 *                                                                             forgot our session
 *   backing-off  uses fail with the reason and the time left                → connecting: the first use after the wait,
 *                                                                             or the wait's end (eager)
 *   closed       by us, from any state; uses fail                           (for ever)
 *
 * The first wait after a sound connection is none; it doubles from half a second up to half a minute. A connection that
 * is no longer to be used is closed when the last call on it has ended; every closing is bounded and waited for by
 * `close`, so nothing outlives that.
 *
 * A server whose tools are not those that were accepted is quarantined: its connection stays as it is, so that the
 * change can be looked at, and its tools are not to be used (ToolSet).
 */
type State =
  | { kind: "idle" }
  | { kind: "connecting"; attempt: Promise<Outcome<Held>> }
  | { kind: "ready"; held: Held }
  | { kind: "backing-off"; until: number; failure: Failure }
  | { kind: "closed" };

export type LifetimeState = State["kind"];

/** A connection while it is used. */
export interface Held {
  readonly connection: Connection;
  readonly since: number;
  calls: number;
  /** Not to be used again; closed when the last call on it has ended. */
  isRetired: boolean;
}

/** Milliseconds; a connection that lived this long starts its back-off anew. */
const soundAfterMs = 30_000;
const longestBackOffMs = 30_000;

/** Why a child could not be started, in words of ours. */
const endingOf = (error: unknown): string | null =>
  error instanceof Error && error.cause !== undefined ? error.message : null;

/** Where it was looked for, without what a URL may hide. */
function addressOf({ url }: McpServer): string {
  const at = URL.parse(url ?? "");
  return at === null ? "" : ` at ${at.origin}${at.pathname}`;
}

/** Milliseconds to wait after so many failures in a row. */
export const backOff = (failures: number): number =>
  failures <= 1 ? 0 : Math.min(longestBackOffMs, 125 * 2 ** Math.min(failures, 20));

export class Lifetime {
  readonly #server: McpServer;
  readonly #caller: Caller;
  readonly #log: Log;
  readonly #onToolsChanged: (held: Held) => void;
  readonly #closing = new AbortController();
  readonly #endings = new Set<Promise<void>>();
  #state: State = { kind: "idle" };
  #route: Route | null = null;
  #failures = 0;

  constructor(server: McpServer, caller: Caller, log: Log, onToolsChanged: (held: Held) => void) {
    this.#server = server;
    this.#caller = caller;
    this.#log = log;
    this.#onToolsChanged = onToolsChanged;
    if (server.start === "eager") queueMicrotask(() => this.#begin());
  }

  get state(): LifetimeState {
    return this.#state.kind;
  }

  /** Aborted when we close. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** What is used now; null where that has to be waited for, or fails. */
  get ready(): Held | null {
    return this.#state.kind === "ready" ? this.#state.held : null;
  }

  /** The caller's signal ends the caller's waiting, not the attempt, which others may share. */
  async use(signal: AbortSignal): Promise<Outcome<Held>> {
    const what = `MCP server "${this.#server.name}"`;
    const cutShort = terminal("cancelled", `waiting for ${what} was cut short`);
    if (signal.aborted) return fail(cutShort);
    const state = this.#state;
    if (state.kind === "closed") return fail(terminal("unavailable", `${what} was closed by us`));
    if (state.kind === "ready") return ok(state.held);
    if (state.kind === "backing-off") {
      const wait = Math.ceil(state.until - performance.now());
      if (wait > 0) return fail({ ...state.failure, retryAfterMs: wait });
    }
    return untilAborted(this.#begin(), signal).catch(() => fail(cutShort));
  }

  /** Told when a call that was counted on the connection has ended. */
  release(held: Held): void {
    held.calls -= 1;
    if (held.isRetired && held.calls === 0) this.#endLater(held);
  }

  /** The other side, or our session there, is gone, as far as a call could tell: no new call goes there. */
  retire(held: Held): void {
    this.#lost(held);
    held.isRetired = true;
    if (held.calls === 0) this.#endLater(held);
  }

  /** It does not even say that it is there: what still waits for an answer waits in vain. */
  giveUp(held: Held): void {
    if (this.#state.kind !== "ready" || this.#state.held !== held) return;
    this.#lost(held);
    this.#endLater(held);
  }

  /** Bounded; leaves no process behind. Calls still under way fail. */
  async close(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: "closed" };
    this.#closing.abort();
    if (state.kind === "ready") this.#endLater(state.held);
    if (state.kind === "connecting") await state.attempt;
    await Promise.all(this.#endings);
  }

  #begin(): Promise<Outcome<Held>> {
    if (this.#state.kind === "connecting") return this.#state.attempt;
    const attempt = this.#connect();
    this.#state = { kind: "connecting", attempt };
    return attempt;
  }

  async #connect(): Promise<Outcome<Held>> {
    const { timeoutMs } = this.#caller;
    const deadline = AbortSignal.timeout(timeoutMs);
    let held: Held | null = null;
    const listeners = {
      log: this.#log,
      onToolsChanged: () => {
        if (held !== null) this.#onToolsChanged(held);
      },
      onClosed: () => this.#lost(held),
    };
    try {
      const signal = AbortSignal.any([deadline, this.closing]);
      const connection = await connect(this.#server, this.#caller, this.#route, listeners, signal);
      held = { connection, since: performance.now(), calls: 0, isRetired: false };
      if (connection.ending() !== null) throw new Error("it ended at once");
    } catch (error) {
      // It may speak otherwise by now.
      this.#route = null;
      const failure = readError(error, {
        what: `MCP server "${this.#server.name}"${addressOf(this.#server)}`,
        aborted: this.closing.aborted,
        timedOutAfterMs: deadline.aborted ? timeoutMs : null,
        ending: this.#server.url === undefined ? endingOf(error) : null,
        safeToRepeat: true,
      });
      return fail(this.#failed(asUnavailable(failure)));
    }
    if (this.#state.kind === "closed") {
      this.#endLater(held);
      return fail(terminal("unavailable", `MCP server "${this.#server.name}" was closed by us`));
    }
    this.#route = held.connection.route;
    this.#state = { kind: "ready", held };
    return ok(held);
  }

  #failed(failure: Failure): Failure {
    if (this.#state.kind === "closed") return failure;
    this.#log.warn(
      { server: this.#server.name, problem: failure.message },
      "MCP server not available",
    );
    this.#backOff(failure);
    return failure;
  }

  #lost(held: Held | null): void {
    if (held === null || this.#state.kind !== "ready" || this.#state.held !== held) return;
    const { name } = this.#server;
    const reason = held.connection.ending() ?? "the connection was lost";
    this.#log.warn({ server: name, reason }, "MCP server was lost");
    if (performance.now() - held.since > soundAfterMs) this.#failures = 0;
    this.#backOff(retryable("unavailable", `MCP server "${name}" was lost: ${reason}`));
  }

  #backOff(failure: Failure): void {
    this.#failures += 1;
    const wait = backOff(this.#failures);
    const state: State = { kind: "backing-off", until: performance.now() + wait, failure };
    this.#state = state;
    if (this.#server.start !== "eager") return;
    const again = (): void => {
      if (this.#state === state) void this.#begin();
    };
    setTimeout(again, Math.max(wait, 1_000)).unref();
  }

  #endLater(held: Held): void {
    const ending = held.connection.close().finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
  }
}

/** Whatever kept us from a server (unless we were refused or cancelled), it may be there the next time. */
function asUnavailable(failure: Failure): Failure {
  if (failure.kind === "unauthorized" || failure.kind === "cancelled") return failure;
  return retryable("unavailable", failure.message);
}
