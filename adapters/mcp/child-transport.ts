import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { createInterface } from "node:readline";
import { getDefaultEnvironment } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ReadBuffer, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { JSONRPCMessage } from "@modelcontextprotocol/sdk/types.js";
import type { McpServer } from "./config.ts";

/** How long each step of a close may take, in milliseconds: end of input, then SIGTERM, then SIGKILL. */
const graceMs = 1_000;

/** Characters of one line of a server's stderr that are logged. */
const stderrLineLimit = 2_000;

/**
 * An MCP server as a child process. The SDK's own stdio transport starts the child in our process group and
 * signals the child alone, so what `npx server` starts outlives it, and a terminal's Ctrl-C kills the servers
 * of a worker that means to drain. Here the child leads a group of its own, and the whole group goes with it.
 */
export class ChildTransport implements Transport {
  onclose?: () => void;
  onerror?: (error: Error) => void;
  onmessage?: (message: JSONRPCMessage) => void;
  /** Why the child is gone, for a person; null while it lives. */
  ending: string | null = null;
  readonly #server: McpServer;
  readonly #onStderr: (line: string) => void;
  readonly #buffer = new ReadBuffer();
  readonly #gone = Promise.withResolvers<void>();
  #child: ChildProcessWithoutNullStreams | null = null;

  constructor(server: McpServer, onStderr: (line: string) => void) {
    this.#server = server;
    this.#onStderr = onStderr;
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
    createInterface({ input: child.stderr }).on("line", (line) =>
      this.#onStderr(line.slice(0, stderrLineLimit)),
    );
    this.#child = child;
    await spawned.promise;
  }

  send(message: JSONRPCMessage): Promise<void> {
    const stdin = this.#child?.stdin;
    return new Promise((resolve, reject) => {
      if (stdin === undefined || !stdin.writable) {
        reject(new Error("the server's input is closed"));
        return;
      }
      stdin.write(serializeMessage(message), (error) => (error ? reject(error) : resolve()));
    });
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

  #read(chunk: Buffer): void {
    try {
      this.#buffer.append(chunk);
    } catch (error) {
      this.ending = "sent a message larger than we read";
      this.onerror?.(asError(error));
      void this.close();
      return;
    }
    for (;;) {
      try {
        const message = this.#buffer.readMessage();
        if (message === null) return;
        this.onmessage?.(message);
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
    this.ending ??= signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
    // What the child left behind would hold its streams open, and "close" would never come.
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
    const patience = setTimeout(() => {
      child.stdout.destroy();
      child.stderr.destroy();
    }, graceMs);
    child.once("close", () => clearTimeout(patience));
  }

  #end(reason: string): void {
    this.ending ??= reason;
    this.#buffer.clear();
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
