import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import {
  type JSONRPCMessage,
  serializeMessage,
  type Transport,
} from "@modelcontextprotocol/client";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { largestMessage, readMessage } from "./bounded-http.ts";
import { BoundedLines, WithoutParts } from "./bounded-lines.ts";
import { guardGroup } from "./orphan-guard.ts";
import { endingOf, startOf } from "./own-processes.ts";
import type { McpServer } from "./server-options.ts";
import { floods, Unasked } from "./unasked.ts";

/** How long each step of a close may take, in milliseconds: end of input, then SIGTERM, then SIGKILL. */
const graceMs = 1_000;

/** Characters of one line of a server's stderr that are kept; the rest of the line is thrown away as it comes. */
const stderrLineLimit = 2_000;
/** Lines of one piece of stderr that are looked at, the last ones. */
const stderrLinesAtOnce = 200;
/** Lines on stdout that are no messages and are told to whoever debugs; the others only count. */
const noiseTold = 20;
/** Milliseconds of one turn that what a server sent may take; the rest waits for the next turn. */
const turnMs = 4;
/** What waits for a server that does not read: answers to its own requests, and bytes of all. */
const mostWaiting = { answers: 1_000, bytes: 4 * largestMessage };
/** What is told of a server's last words when it ends: lines, and characters of them all. */
const lastWords = { lines: 5, characters: 1_000 };

/**
 * An MCP server as a child process. The SDK's own stdio transport starts the child in our process group and
 * signals the child alone, so what `npx server` starts outlives it, and a terminal's Ctrl-C kills the servers
 * of a worker that means to drain. Here the child leads a group of its own, and the whole group goes with it.
 */
export class ChildTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  /** By this and `pid` the SDK knows a transport over standard streams, on which silence means a server of before 2026. */
  readonly stderr = null;
  /** Why the child is gone, for a person; null while it lives. */
  ending: string | null = null;
  readonly #server: McpServer;
  readonly #onStderr: (line: string) => void;
  readonly #lines = new BoundedLines(largestMessage, "refuse");
  readonly #stderr = new BoundedLines(stderrLineLimit, "cut");
  readonly #withoutParts = new WithoutParts(stderrLineLimit);
  #lastLines: string[] = [];
  readonly #gone = Promise.withResolvers<void>();
  readonly #unasked = new Unasked();
  /** Requests of ours that are not answered yet. */
  #owed = 0;
  #noise = 0;
  #isGivenUp = false;
  /** Answers of ours that the child does not take yet. */
  #answersWaiting = 0;
  /** Shared by all who wait for the child to read on; null while nobody does. */
  #drained: PromiseWithResolvers<void> | null = null;
  #child: ChildProcessWithoutNullStreams | null = null;
  #unguard = (): void => undefined;
  #exitCode: number | null = null;

  constructor(server: McpServer, onStderr: (line: string) => void) {
    this.#server = server;
    this.#onStderr = onStderr;
  }

  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** @throws when the command can't be started */
  async start(): Promise<void> {
    const { command = "", cwd } = this.#server;
    const start = await startOf(this.#server).catch((error: Error) => {
      this.#end(`could not be started (${error.message})`);
      throw error;
    });
    if (this.#isGivenUp) throw new Error("it was closed before it was started");
    const child = spawn(start.command, start.args, {
      env: start.env,
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      ...(cwd === undefined ? {} : { cwd }),
    });
    if (child.pid !== undefined) this.#unguard = guardGroup(child.pid);
    const spawned = Promise.withResolvers<void>();
    child.once("spawn", spawned.resolve);
    child.once("error", (error) => {
      spawned.reject(error);
      const isMissing = "code" in error && error.code === "ENOENT";
      const place = cwd === undefined ? "" : `, or no folder "${cwd}"`;
      const why = isMissing ? `there is no program "${command}"${place}` : error.message;
      this.#end(`could not be started (${why})`);
    });
    child.once("exit", (code, signal) => this.#exited(child, code, signal));
    child.once("close", () => this.#end("closed its streams"));
    child.stdin.on("error", (error) => this.onerror?.(error));
    child.stdout.on("error", (error) => this.onerror?.(error));
    child.stdout.on("data", (chunk: Buffer) => this.#read(chunk));
    child.stderr.on("error", (error) => this.onerror?.(error));
    child.stderr.on("data", (chunk: Buffer) => {
      for (const line of this.#stderr.read(chunk).slice(-stderrLinesAtOnce)) this.#heard(line);
      // One piece a turn, however fast it comes.
      child.stderr.pause();
      setImmediate(() => child.stderr.resume());
    });
    this.#child = child;
    await spawned.promise;
  }

  /** Resolves as soon as the child's input takes more; what is lost on the way is told by the connection's end. */
  async send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (stdin === undefined || !stdin.writable) throw new Error("the server's input is closed");
    const isAnswer = !("method" in message);
    if (!isAnswer && "id" in message) this.#owed += 1;
    if (stdin.write(serializeMessage(message))) return;
    if (isAnswer) this.#answersWaiting += 1;
    if (this.#answersWaiting > mostWaiting.answers || stdin.writableLength > mostWaiting.bytes) {
      this.#giveUp("does not read what it is sent");
    }
    if (this.#drained === null) {
      const drained = (this.#drained = Promise.withResolvers<void>());
      stdin.once("drain", () => {
        this.#drained = null;
        drained.resolve();
      });
    }
    await this.#drained.promise;
    if (isAnswer) this.#answersWaiting -= 1;
  }

  /** Resolves within about three seconds, and nothing of the child's group is left then. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#isGivenUp ||= child === null;
    if (child === null || child.pid === undefined) return;
    child.stdin.end();
    if (await this.#goneWithin(graceMs)) return;
    signalGroup(child.pid, "SIGTERM");
    if (await this.#goneWithin(graceMs)) return;
    signalGroup(child.pid, "SIGKILL");
    await this.#goneWithin(graceMs);
  }

  /** One line of what the server says of itself: logged, and the last ones kept for the reason of its end. */
  #heard(line: string): void {
    const text = this.#withoutParts.read(cutText(line, stderrLineLimit)).trim();
    if (text === "") return;
    this.#onStderr(text);
    this.#lastLines = [...this.#lastLines, text].slice(-lastWords.lines);
  }

  #read(chunk: Buffer): void {
    try {
      this.#take(this.#lines.read(chunk), 0);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#giveUp(`sent a message of more than ${largestMessage} bytes`);
    }
  }

  /** As many lines as one turn has time for; nothing more is read before the rest was taken. */
  #take(lines: readonly string[], from: number): void {
    const until = performance.now() + turnMs;
    for (let at = from; at < lines.length; at += 1) {
      if (this.#isGivenUp) return;
      this.#takeLine(lines[at] ?? "");
      if (at + 1 === lines.length || performance.now() < until) continue;
      this.#child?.stdout.pause();
      setImmediate(() => this.#take(lines, at + 1));
      return;
    }
    if (from > 0) this.#child?.stdout.resume();
  }

  /** A line that isn't JSON-RPC (a stray print, say) costs that line only, and is not looked at closely. */
  #takeLine(line: string): void {
    let isAsked = false;
    try {
      if (!/^\s*\{/u.test(line)) throw new Error("a line is not JSON-RPC");
      const message = readMessage(line);
      isAsked = !("method" in message) && this.#owed > 0;
      if (isAsked) this.#owed -= 1;
      this.onmessage?.(message);
    } catch (error) {
      this.#noise += 1;
      if (this.#noise <= noiseTold && line.trim() !== "") this.onerror?.(asError(error));
    }
    if (!isAsked && !this.#unasked.take(line.length)) this.#giveUp(floods);
  }

  /** At once, and without a word: whoever floods us does not hear one. */
  #giveUp(reason: string): void {
    if (this.#isGivenUp || this.#child?.pid === undefined) return;
    this.#isGivenUp = true;
    this.ending ??= reason;
    this.onerror?.(new Error(reason));
    this.#child.stdout.destroy();
    signalGroup(this.#child.pid, "SIGKILL");
  }

  #exited(
    child: ChildProcessWithoutNullStreams,
    code: number | null,
    signal: NodeJS.Signals | null,
  ): void {
    this.#exitCode = code;
    this.ending ??= endingOf(this.#server, code, signal);
    // What the child left behind would hold its streams open, and "close" would never come.
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    this.#unguard();
    const patience = setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, graceMs);
    child.once("close", () => clearTimeout(patience));
  }

  #end(reason: string): void {
    this.ending ??= reason;
    // Why it ended is what it said last, as far as it ended by itself.
    if (this.#exitCode !== null && this.#exitCode !== 0 && this.#lastLines.length > 0) {
      this.ending += `: ${cutText(this.#lastLines.join(" | "), lastWords.characters)}`;
    }
    this.#exitCode = null;
    this.#gone.resolve();
    this.#drained?.resolve();
    this.onclose?.();
    delete this.onclose;
  }

  async #goneWithin(ms: number): Promise<boolean> {
    const late = Promise.withResolvers<false>();
    const timer = setTimeout(() => late.resolve(false), ms);
    const gone = await Promise.race([this.#gone.promise.then(() => true), late.promise]);
    clearTimeout(timer);
    return gone;
  }
}

function signalGroup(leader: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-leader, signal);
  } catch {
    // ESRCH: nobody is left in the group, which is what we want.
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
