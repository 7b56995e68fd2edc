import { spawn } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import which from "which";

const recorder = fileURLToPath(new URL("./record-spawns.ts", import.meta.url));

/** A program that was started, by the server or by a git that it had started. */
export interface Started {
  program: string;
  args: string[];
  /** `NAME=value`; empty for what git started. */
  env: string[];
  /** Whether a shell was started to read it. */
  byShell: boolean;
}

interface Answer {
  error?: { code: number; message: string };
  result?: {
    isError?: boolean;
    content?: { text?: string }[];
    structuredContent?: Record<string, unknown>;
    tools?: { name: string; inputSchema: Record<string, unknown> }[];
  };
}

/**
 * One of our servers as a process of its own, spoken to in bare JSON lines, so that no client keeps back what a server
 * must refuse. All that it starts is recorded: by Node in the server, and by git itself (trace2) in each git below it.
 */
export class RecordedServer {
  readonly #child;
  readonly #spawns: string;
  readonly #traces: string;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #next = 0;
  #stderr = "";

  /** @param folder - takes the records, and nothing else */
  constructor(
    folder: string,
    server: string,
    args: readonly string[],
    { env = {}, cwd }: { env?: Record<string, string>; cwd: string },
  ) {
    this.#spawns = join(folder, "spawns");
    this.#traces = join(folder, "traces");
    const wrappers = join(folder, "bin");
    mkdirSync(this.#traces, { recursive: true });
    mkdirSync(wrappers, { recursive: true });
    writeFileSync(this.#spawns, "");
    tracedGit(join(wrappers, "git"), this.#traces);
    this.#child = spawn(process.execPath, ["--import", recorder, server, ...args], {
      cwd,
      env: {
        PATH: `${wrappers}${delimiter}${process.env["PATH"] ?? ""}`,
        RECORD_SPAWNS: this.#spawns,
        ...env,
      },
      stdio: "pipe",
    });
    this.#child.stderr.on("data", (chunk: Buffer) => (this.#stderr += chunk.toString()));
    createInterface({ input: this.#child.stdout }).on("line", (line) => {
      const { id, ...answer } = JSON.parse(line) as Answer & { id?: number };
      if (id !== undefined) this.#waiting.get(id)?.(answer);
    });
  }

  /**
   * @param rawByte - a character that is sent as the byte 0xff, which is in no UTF-8
   */
  async ask(method: string, params: object, rawByte?: string): Promise<Answer> {
    this.#next += 1;
    const id = this.#next;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const late = setTimeout(
      () => reject(new Error(`no answer to ${method} ${JSON.stringify(params)}\n${this.#stderr}`)),
      100_000,
    );
    this.#waiting.set(id, resolve);
    const line = `${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`;
    const bytes = line
      .split(rawByte ?? "\n\n")
      .flatMap((part) => [Buffer.from([0xff]), Buffer.from(part)])
      .slice(1);
    this.#child.stdin.write(Buffer.concat(bytes));
    return promise.finally(() => clearTimeout(late));
  }

  async start(): Promise<NonNullable<NonNullable<Answer["result"]>["tools"]>> {
    await this.ask("initialize", {
      protocolVersion: "2025-11-25",
      capabilities: {},
      clientInfo: { name: "test", version: "1" },
    });
    return (await this.ask("tools/list", {})).result?.tools ?? [];
  }

  call(name: string, input: object, rawByte?: string): Promise<Answer> {
    return this.ask("tools/call", { name, arguments: input }, rawByte);
  }

  /** What was started since the last time. */
  takeStarted(): Started[] {
    const own = linesOf(this.#spawns).map((line) => {
      const { program, args, env } = line as { program: string; args: string[]; env: string[] };
      return { program, args: args.slice(1), env, byShell: false };
    });
    writeFileSync(this.#spawns, "");
    return [...own, ...takeTraced(this.#traces)];
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once("close", resolve));
    this.#child.stdin.end();
    await ended;
  }
}

/** A git that writes down what it starts, a file for each process in `folder`; see api-trace2(5). */
export function tracedGit(path: string, folder: string): void {
  writeFileSync(path, `#!/bin/sh\nGIT_TRACE2_EVENT='${folder}' exec '${which.sync("git")}' "$@"\n`);
  chmodSync(path, 0o755);
}

export function takeTraced(folder: string): Started[] {
  const started: Started[] = [];
  for (const name of existsSync(folder) ? readdirSync(folder) : []) {
    for (const line of linesOf(join(folder, name))) {
      const event = line as { event: string; argv?: string[]; use_shell?: boolean };
      if (event.event !== "child_start" && event.event !== "exec") continue;
      const [program = "", ...args] = event.argv ?? [];
      started.push({ program, args, env: [], byShell: event.use_shell === true });
    }
    rmSync(join(folder, name));
  }
  return started;
}

const linesOf = (file: string): unknown[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as unknown);
