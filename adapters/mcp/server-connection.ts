import {
  CLIENT_CAPABILITIES_META_KEY,
  type CallToolRequest,
  type CallToolResult,
  type InputRequiredResult,
  isInputRequiredResult,
  SdkError,
  SdkErrorCode,
  type Tool,
} from "@modelcontextprotocol/client";
import {
  retryable,
  terminal,
  type Failure,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { type CallAllowance, CallLimits } from "./call-limits.ts";
import { noTimeout, RequestTime, untilAborted } from "./connect.ts";
import { backOff, type Held, Lifetime, type LifetimeState } from "./lifetime.ts";
import { readTools } from "./list-tools.ts";
import type { ServerIdentity } from "./pins.ts";
import { readQuestions } from "./questions.ts";
import { isFromServer, readError } from "./results.ts";
import type { McpServer } from "./server-options.ts";
import { credentialsOf } from "./transports.ts";

/** Milliseconds a server that let a call time out must show that it is there. */
const signOfLifeMs = 5_000;

/** What the server lists, as it was read over one connection. */
interface Listing {
  tools: Map<string, Tool> | null;
  reading: Promise<Map<string, Tool>> | null;
}

/** One server: its tools as it lists them, and calls of them, over its one connection. Expected trouble is a value. */
export class ServerConnection {
  readonly name: string;
  /** The names of its tools when it was last asked. */
  lastTools: ReadonlySet<string> = new Set();
  /** Who it said that it is, when it was last reached. */
  identity: ServerIdentity | null = null;
  /** What was left out when its tools were last read, and why. */
  unreadable: ReadonlyMap<string, string> = new Map();
  readonly #lifetime: Lifetime;
  readonly #limits: CallLimits;
  readonly #isRemote: boolean;
  readonly #timeoutMs: number;
  readonly #log: Log;
  #listings = new WeakMap<Held, Listing>();
  /** Whether it is there: the last attempt to connect and to list. */
  #isUnreached = false;
  #listFailures = 0;
  #listNotBefore = 0;
  #listFailure: Failure | null = null;

  constructor(
    server: McpServer,
    options: { clientInfo: { name: string; version: string }; timeoutMs: number; log: Log },
  ) {
    const { clientInfo, timeoutMs, log } = options;
    this.name = server.name;
    this.#isRemote = server.url !== undefined;
    this.#timeoutMs = timeoutMs;
    this.#limits = new CallLimits(server, timeoutMs);
    this.#log = log;
    const caller = { clientInfo, credentials: credentialsOf(server), timeoutMs };
    this.#lifetime = new Lifetime(server, caller, log, (held) => this.#listings.delete(held));
  }

  get state(): LifetimeState {
    return this.#lifetime.state;
  }

  /** True when the last attempt to connect, or to list its tools, failed. */
  get down(): boolean {
    return this.#isUnreached || this.#listFailures > 0;
  }

  /** What {@link tools} would give without waiting; null where it would wait, or fail. */
  get current(): Map<string, Tool> | null {
    const held = this.#lifetime.ready;
    return held === null ? null : (this.#listings.get(held)?.tools ?? null);
  }

  /** By name; asked for again after the server said that they changed. */
  async tools(signal: AbortSignal): Promise<Outcome<Map<string, Tool>>> {
    const connected = await this.#connected(signal);
    if (!connected.ok) return connected;
    const held = connected.value;
    const listing = this.#listings.get(held) ?? { tools: null, reading: null };
    this.#listings.set(held, listing);
    if (listing.tools !== null) return ok(listing.tools);
    const wait = Math.ceil(this.#listNotBefore - performance.now());
    if (listing.reading === null && wait > 0 && this.#listFailure !== null) {
      return fail({ ...this.#listFailure, retryAfterMs: wait });
    }
    // Shared by all who ask meanwhile: it has its own time-out and is not cancelled with any caller.
    const reading = (listing.reading ??= this.#list(held));
    try {
      const tools = await untilAborted(reading, signal);
      // What can't be read or used is still there, by its name.
      this.lastTools = new Set([...tools.keys(), ...this.unreadable.keys()]);
      listing.tools = tools;
      return ok(tools);
    } catch (error) {
      if (!signal.aborted) listing.reading = null;
      const isLate = error instanceof DOMException || isTimeOut(error);
      const timedOutAfterMs = !signal.aborted && isLate ? this.#timeoutMs : null;
      const about = { what: "the list of tools", safeToRepeat: true, timedOutAfterMs };
      const failure = this.#readError(error, held, about, signal);
      return fail(signal.aborted ? failure : this.#listFailed(failure));
    }
  }

  async #list(held: Held): Promise<Map<string, Tool>> {
    const { client, route } = held.connection;
    const time = AbortSignal.any([AbortSignal.timeout(this.#timeoutMs), this.#lifetime.closing]);
    const unreadable = new Map<string, string>();
    const reading = readTools(client, route, time, (tool, problem) => {
      unreadable.set(tool, problem);
      this.#log.warn({ server: this.name, tool, problem }, "MCP tool left out: it can't be read");
    });
    const tools = await untilAborted(reading, time);
    this.unreadable = unreadable;
    this.#listFailures = 0;
    return tools;
  }

  /** A server that doesn't list its tools is as good as down: the others need not wait for it each time. */
  #listFailed(failure: Failure): Failure {
    this.#listFailures += 1;
    this.#listFailure = failure;
    this.#listNotBefore = performance.now() + backOff(this.#listFailures + 1);
    this.#log.warn({ server: this.name, problem: failure.message }, "MCP server lists no tools");
    return failure;
  }

  /**
   * One call of one tool, as it was listed. A tool's own error is in the result. Progress that the server shows
   * prolongs the call, up to a bound.
   */
  call(
    tool: Tool,
    params: CallToolRequest["params"],
    safeToRepeat: boolean,
    signal: AbortSignal,
  ): Promise<Outcome<CallToolResult | InputRequiredResult>> {
    const held = this.#lifetime.ready;
    const { free } = this.#limits;
    if (held === null || free === null) {
      return this.#callInTurn(tool, params, safeToRepeat, signal);
    }
    return this.#callOn(held, tool, params, safeToRepeat, free, signal);
  }

  /** When the limits let it, on whatever connection there is then. */
  async #callInTurn(
    tool: Tool,
    params: CallToolRequest["params"],
    safeToRepeat: boolean,
    signal: AbortSignal,
  ): Promise<Outcome<CallToolResult | InputRequiredResult>> {
    const entered = await this.#limits.enter(tool.name, signal);
    if (!entered.ok) return entered;
    const allowance = entered.value;
    try {
      const connected = await this.#connected(signal);
      if (!connected.ok) return connected;
      return await this.#callOn(connected.value, tool, params, safeToRepeat, allowance, signal);
    } finally {
      allowance.leave();
    }
  }

  async #callOn(
    held: Held,
    tool: Tool,
    params: CallToolRequest["params"],
    safeToRepeat: boolean,
    allowance: CallAllowance,
    signal: AbortSignal,
  ): Promise<Outcome<CallToolResult | InputRequiredResult>> {
    if (this.#listings.get(held)?.tools?.get(tool.name) !== tool) {
      // Another connection, or another list, than the one that was looked at: the tool may be another too.
      const message = `MCP server "${this.name}" changed while its tool "${tool.name}" was looked at`;
      return fail(retryable("unavailable", message));
    }
    const time = new RequestTime(allowance.timeoutMs, allowance.maxTimeoutMs, signal);
    held.calls += 1;
    try {
      const result = await request(held, tool, params, time);
      if (isInputRequiredResult(result)) return await goOn(held, tool, params, time, result);
      return withinSize(result, tool.name, allowance.outputBytes);
    } catch (error) {
      const timedOutAfterMs = time.endedBy(error) ? time.takenMs() : null;
      const about = { what: `tool "${params.name}"`, safeToRepeat, timedOutAfterMs };
      return fail(this.#readError(error, held, about, signal));
    } finally {
      time.settle();
      this.#lifetime.release(held);
    }
  }

  /** Bounded; leaves no process behind. Calls still under way fail. */
  close(): Promise<void> {
    return this.#lifetime.close();
  }

  async #connected(signal: AbortSignal): Promise<Outcome<Held>> {
    const connected = await this.#lifetime.use(signal);
    if (connected.ok) {
      this.#isUnreached = false;
      this.identity = connected.value.connection.client.getServerVersion() ?? this.identity;
    } else if (!signal.aborted) this.#isUnreached = true;
    return connected;
  }

  #readError(
    error: unknown,
    held: Held,
    about: { what: string; safeToRepeat: boolean; timedOutAfterMs: number | null },
    signal: AbortSignal,
  ): Failure {
    const timedOutAfterMs = signal.aborted ? null : about.timedOutAfterMs;
    if (timedOutAfterMs !== null) void this.#probe(held);
    else if (!signal.aborted && !isFromServer(error) && this.#isRemote) {
      // An HTTP transport never says that the other side, or our session there, is gone.
      this.#lifetime.retire(held);
    }
    return readError(error, {
      what: `${about.what} of MCP server "${this.name}"`,
      aborted: signal.aborted,
      timedOutAfterMs,
      ending: held.connection.ending(),
      safeToRepeat: about.safeToRepeat,
    });
  }

  /** A server that let a call time out and says nothing else either would fail every later call as slowly. */
  async #probe(held: Held): Promise<void> {
    const signal = AbortSignal.timeout(Math.min(signOfLifeMs, this.#timeoutMs));
    const { client, route } = held.connection;
    const options = { signal, timeout: noTimeout };
    const sign = route.isHandshake ? client.ping(options) : client.discover(options);
    const isThere = await untilAborted<unknown>(sign, signal).then(
      () => true,
      (error: unknown) => isFromServer(error) && !signal.aborted,
    );
    if (!isThere) this.#lifetime.giveUp(held);
  }
}

const isTimeOut = (error: unknown): boolean =>
  error instanceof SdkError && error.code === SdkErrorCode.RequestTimeout;

/**
 * What we can do for a stateless server in the middle of a call: carry its question to a person, who answers in her own
 * time, while no call waits. A server of the handshake asks while its call is open, and is not told that it may.
 */
const canAsk = { [CLIENT_CAPABILITIES_META_KEY]: { elicitation: { form: {} } } };

/** One request; a stateless server may want more of us before it gives the result. */
function request(
  { connection: { client, route } }: Held,
  { name, inputSchema }: Tool,
  params: CallToolRequest["params"],
  time: RequestTime,
): Promise<CallToolResult | InputRequiredResult> {
  if (route.isHandshake) return client.request({ method: "tools/call", params }, time.options);
  // What the SDK takes headers from. Without its output schema, which is checked by ours, in a linear engine.
  const toolDefinition = { name, inputSchema };
  const options = { ...time.options, toolDefinition, allowInputRequired: true };
  return client.callTool({ ...params, _meta: { ...params._meta, ...canAsk } }, options);
}

/** Times that a call is repeated because its server asks for that, and for nothing else. */
const mostRounds = 10;

/** A server may want back a state and nothing else, and then goes on where it was. */
async function goOn(
  held: Held,
  tool: Tool,
  params: CallToolRequest["params"],
  time: RequestTime,
  first: InputRequiredResult,
): Promise<Outcome<CallToolResult | InputRequiredResult>> {
  let wanted = first;
  for (let round = 0; round < mostRounds; round += 1) {
    const read = readQuestions(wanted);
    // What it asks, or how it does, is its caller's to judge.
    if (typeof read === "string" || read.questions.length > 0) return ok(wanted);
    const state = read.state === null ? {} : { requestState: read.state };
    const result = await request(held, tool, { ...params, ...state }, time);
    if (!isInputRequiredResult(result)) return ok(result);
    wanted = result;
  }
  return fail(terminal("tool_failed", `tool "${tool.name}" wants to be called again without end`));
}

function withinSize(
  result: CallToolResult,
  tool: string,
  most: number | null,
): Outcome<CallToolResult> {
  if (most === null) return ok(result);
  const bytes = Buffer.byteLength(JSON.stringify(result));
  if (bytes <= most) return ok(result);
  return fail(terminal("too_large", `tool "${tool}" gave ${bytes} bytes, and may give ${most}`));
}
