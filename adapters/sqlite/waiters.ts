import { resolve } from "node:path";
import type { Clock } from "../../machines/contracts/ports/clock.ts";
import { isFile } from "./database.ts";

/** How often a reader looks for what another process published, in milliseconds. */
const pollMs = 20;

/** Readers of this process that wait for entries, by database. */
const waiting = new Map<string, Set<() => void>>();

export interface Waiters {
  /** Wakes every reader of this database in this process. */
  wake(): void;
  /** Until there may be something new, `waitMs` are over, or the signal aborts. */
  wait(waitMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Readers wake at once for what their own process publishes. What other processes publish to a file they see
 * by looking now and then; a database in memory has no others, and its readers sleep until woken.
 */
export function waitersOf(path: string, clock: Clock): Waiters {
  const own = path === ":memory:" ? new Set<() => void>() : sharedSet(path);
  return {
    wake() {
      for (const wake of own) wake();
    },
    wait(waitMs, signal) {
      const { promise, resolve: wake } = Promise.withResolvers<void>();
      const callOff = clock.timer(isFile(path) ? Math.min(pollMs, waitMs) : waitMs, wake);
      own.add(wake);
      const abort = () => wake();
      signal.addEventListener("abort", abort);
      return promise.finally(() => {
        callOff();
        own.delete(wake);
        signal.removeEventListener("abort", abort);
      });
    },
  };
}

function sharedSet(path: string): Set<() => void> {
  const name = isFile(path) ? resolve(path) : path;
  const set = waiting.get(name) ?? new Set();
  waiting.set(name, set);
  return set;
}
