import {
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { McpLimits, McpServer } from "./server-options.ts";

const minuteMs = 60_000;

/** What one call may take. */
export interface CallAllowance {
  timeoutMs: number;
  maxTimeoutMs: number;
  /** Bytes; null where the bound of a message alone holds. */
  outputBytes: number | null;
  /** Gives the call's place to the next. */
  leave(): void;
}

/** The limits of a server's calls: each call keeps those of its tool and those of the server. */
export class CallLimits {
  readonly #server: McpServer;
  readonly #timeoutMs: number;
  readonly #gates = new Map<string, Gate>();
  /** Of a server without limits: every call's. */
  readonly free: CallAllowance | null;

  constructor(server: McpServer, timeoutMs: number) {
    this.#server = server;
    this.#timeoutMs = timeoutMs;
    const isFree = server.limits === undefined && server.toolLimits === undefined;
    const maxTimeoutMs = timeoutMs * longestOfIdle;
    this.free = isFree ? { timeoutMs, maxTimeoutMs, outputBytes: null, leave: nothing } : null;
  }

  /** Waits for the call's turn; a rate that is used up is told at once, with the time until it is not. */
  async enter(tool: string, signal: AbortSignal): Promise<Outcome<CallAllowance>> {
    if (this.free !== null) return ok(this.free);
    const { name, limits = {}, toolLimits = {} } = this.#server;
    const own = Object.hasOwn(toolLimits, tool) ? (toolLimits[tool] ?? {}) : {};
    const what = `tool "${tool}" of MCP server "${name}"`;
    const gates = [this.#gate("", limits), this.#gate(`tool ${tool}`, own)];
    const wait = Math.max(...gates.map((gate) => gate.wait()));
    if (wait > 0) {
      const said = `${what} was not called: it has had as many calls this minute as it may have`;
      return fail({ ...retryable("rate_limited", said), retryAfterMs: wait });
    }
    // In the same turn, so that no two calls take the last of a minute.
    for (const gate of gates) gate.count();
    const entered: Gate[] = [];
    const leave = (): void => {
      for (const gate of entered.splice(0)) gate.leave();
    };
    for (const gate of gates) {
      if (!(await gate.enter(signal))) {
        leave();
        return fail(terminal("cancelled", `waiting for a turn of ${what} was cut short`));
      }
      entered.push(gate);
    }
    const timeoutMs = own.timeoutMs ?? limits.timeoutMs ?? this.#timeoutMs;
    return ok({
      timeoutMs,
      maxTimeoutMs: own.maxTimeoutMs ?? limits.maxTimeoutMs ?? timeoutMs * longestOfIdle,
      outputBytes: own.outputBytes ?? limits.outputBytes ?? null,
      leave,
    });
  }

  #gate(key: string, limits: McpLimits): Gate {
    const known = this.#gates.get(key) ?? new Gate(limits);
    this.#gates.set(key, known);
    return known;
  }
}

const nothing = (): void => undefined;

/** A request that shows progress may take so many times its idle time in all. */
const longestOfIdle = 20;

/** So many at once, in the order in which they came; and so many a minute. */
class Gate {
  readonly #places: number;
  readonly #perMinute: number;
  readonly #begun: number[] = [];
  readonly #waiting: (() => void)[] = [];
  #inside = 0;

  constructor({ concurrency, callsPerMinute }: McpLimits) {
    this.#places = concurrency ?? Infinity;
    this.#perMinute = callsPerMinute ?? Infinity;
  }

  /** Milliseconds until one more may begin. */
  wait(): number {
    const now = performance.now();
    while (this.#begun[0] !== undefined && this.#begun[0] <= now - minuteMs) this.#begun.shift();
    const [first] = this.#begun;
    if (first === undefined || this.#begun.length < this.#perMinute) return 0;
    return Math.max(1, Math.ceil(first + minuteMs - now));
  }

  count(): void {
    if (this.#perMinute !== Infinity) this.#begun.push(performance.now());
  }

  /** False when the signal came first: then nothing is taken. */
  async enter(signal: AbortSignal): Promise<boolean> {
    if (signal.aborted) return false;
    if (this.#inside < this.#places) {
      this.#inside += 1;
      return true;
    }
    const turn = Promise.withResolvers<boolean>();
    const take = (): void => turn.resolve(true);
    const giveUp = (): void => {
      const at = this.#waiting.indexOf(take);
      if (at >= 0) this.#waiting.splice(at, 1);
      turn.resolve(at < 0);
    };
    this.#waiting.push(take);
    signal.addEventListener("abort", giveUp, { once: true });
    const isIn = await turn.promise;
    signal.removeEventListener("abort", giveUp);
    return isIn;
  }

  leave(): void {
    const next = this.#waiting.shift();
    // The place goes from hand to hand, so that nobody comes between.
    if (next === undefined) this.#inside -= 1;
    else next();
  }
}
