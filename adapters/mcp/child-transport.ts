import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { StringDecoder } from "node:string_decoder";
import {
  type JSONRPCMessage,
  serializeMessage,
  type Transport,
} from "@modelcontextprotocol/client";
import { getDefaultEnvironment } from "@modelcontextprotocol/client/stdio";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { largestMessage, readMessage } from "./bounded-http.ts";
import { guardGroup } from "./orphan-guard.ts";
import type { McpServer } from "./server-options.ts";

/** How long each step of a close may take, in milliseconds: end of input, then SIGTERM, then SIGKILL. */
const graceMs = 1_000;

/** Characters of one line of a server's stderr that are kept; the rest of the line is thrown away as it comes. */
const stderrLineLimit = 2_000;
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
  #lastLines: string[] = [];
  readonly #gone = Promise.withResolvers<void>();
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
    const { command = "", args = [], env = {}, cwd } = this.#server;
    const child = spawn(command, args, {
      env: { ...getDefaultEnvironment(), ...env },
      stdio: ["pipe", "pipe", "pipe"],
      detached: true,
      ...(cwd === undefined ? {} : { cwd }),
    });
    if (child.pid !== undefined) this.#unguard = guardGroup(child.pid);
    const spawned = Promise.withResolvers<void>();
    child.once("spawn", spawned.resolve);
    child.once("error", (error) => {
      spawned.reject(error);
      this.#end(`could not be started (${error.message})`);
    });
    child.once("exit", (code, signal) => this.#exited(child, code, signal));
    child.once("close", () => this.#end("closed its streams"));
    child.stdin.on("error", (error) => this.onerror?.(error));
    child.stdout.on("error", (error) => this.onerror?.(error));
    child.stdout.on("data", (chunk: Buffer) => this.#read(chunk));
    child.stderr.on("error", (error) => this.onerror?.(error));
    child.stderr.on("data", (chunk: Buffer) => {
      for (const line of this.#stderr.read(chunk)) this.#heard(line);
    });
    this.#child = child;
    await spawned.promise;
  }

  /** Resolves as soon as the child's input takes more; what is lost on the way is told by the connection's end. */
  async send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    if (stdin === undefined || !stdin.writable) throw new Error("the server's input is closed");
    if (stdin.write(serializeMessage(message))) return;
    const taken = Promise.withResolvers<void>();
    stdin.once("drain", taken.resolve);
    await Promise.race([taken.promise, this.#gone.promise]);
    stdin.off("drain", taken.resolve);
  }

  /** Resolves within about three seconds, and nothing of the child's group is left then. */
  async close(): Promise<void> {
    const child = this.#child;
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
    const text = cutText(line, stderrLineLimit).trim();
    if (text === "") return;
    this.#onStderr(text);
    this.#lastLines = [...this.#lastLines, text].slice(-lastWords.lines);
  }

  #read(chunk: Buffer): void {
    let lines: string[];
    try {
      lines = this.#lines.read(chunk);
    } catch (error) {
      this.ending = `sent a message of more than ${largestMessage} bytes`;
      this.onerror?.(asError(error));
      void this.close();
      return;
    }
    for (const line of lines) {
      if (line.trim() === "") continue;
      try {
        this.onmessage?.(readMessage(line));
      } catch (error) {
        // A line that isn't JSON-RPC (a stray print, say) costs that line only.
        this.onerror?.(asError(error));
      }
    }
  }

  #exited(
    child: ChildProcessWithoutNullStreams,
    code: number | null,
    signal: NodeJS.Signals | null,
  ): void {
    this.#exitCode = code;
    this.ending ??= signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
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

/**
 * Lines of a stream, read by hand: a line of any length is in memory up to a limit and no further. Past it the rest
 * of the line is thrown away (`cut`), or the stream is given up (`refuse`).
 */
class BoundedLines {
  readonly #limit: number;
  readonly #past: "cut" | "refuse";
  readonly #decoder = new StringDecoder("utf8");
  #parts: string[] = [];
  #length = 0;

  constructor(limit: number, past: "cut" | "refuse") {
    this.#limit = limit;
    this.#past = past;
  }

  /** @throws RangeError past the limit, where that is refused */
  read(chunk: Buffer): string[] {
    const [first = "", ...more] = this.#decoder.write(chunk).split("\n");
    this.#add(first);
    const lines: string[] = [];
    for (const text of more) {
      lines.push(this.#parts.join(""));
      this.#parts = [];
      this.#length = 0;
      this.#add(text);
    }
    return lines;
  }

  #add(text: string): void {
    const room = this.#limit - this.#length;
    if (text.length > room && this.#past === "refuse") {
      throw new RangeError(`a line is longer than ${this.#limit} characters`);
    }
    if (room <= 0 || text === "") return;
    this.#parts.push(text.slice(0, room));
    this.#length += Math.min(text.length, room);
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
