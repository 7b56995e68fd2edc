import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Child {
  pid: number;
  /** What it said first, once it was at work; rejects when it ended before. */
  ready: Promise<unknown>;
  exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  hasExited(): boolean;
  /** What it says next, once it is ready. */
  says(): Promise<unknown>;
  signal(name: NodeJS.Signals): void;
  /** Resolves once the process is stopped (SIGSTOP). */
  stopped(): Promise<void>;
  /** Ends it by force, stopped or not. */
  end(): Promise<void>;
}

/**
 * Starts a program of this folder, told `options` as JSON in the environment under `name`. The channel between
 * us ends it when we are gone.
 */
export function spawnChild(program: string, name: string, options: unknown): Child {
  const child = spawn(process.execPath, [join(import.meta.dirname, program)], {
    env: {
      PATH: process.env["PATH"] ?? "",
      // Hundreds of these are started: each reads what the first one compiled.
      NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? join(tmpdir(), "node-compile-cache"),
      [name]: JSON.stringify(options),
    },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const pid = child.pid ?? 0;
  const exited = once(child, "exit").then(([code, signal]) => ({ code, signal }) as Exit);
  const ready = Promise.race([
    once(child, "message").then(([message]) => message as unknown),
    exited.then(({ code, signal }) => {
      throw new Error(`${program} ended before it was ready: ${signal ?? `code ${code}`}`);
    }),
  ]);
  ready.catch(() => {});
  const hasExited = () => child.exitCode !== null || child.signalCode !== null;
  return {
    pid,
    ready,
    exited,
    hasExited,
    says: () => once(child, "message").then(([message]) => message as unknown),
    signal: (signal) => void child.kill(signal),
    async stopped() {
      while (!hasExited() && stateOf(pid) !== "T") await sleep(5);
    },
    async end() {
      if (!hasExited()) child.kill("SIGKILL");
      await exited;
      closeChannel(child);
    },
  };
}

type Exit = Awaited<Child["exited"]>;

/** The state letter of proc(5); null when the process is gone. */
function stateOf(pid: number): string | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2)[0] ?? null;
  } catch {
    return null;
  }
}

function closeChannel(child: ChildProcess): void {
  if (child.connected) child.disconnect();
}
