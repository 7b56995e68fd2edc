import type { ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { endCopiesAtOnce, spawnCopy } from "./spawn-copy.ts";
import type { Log } from "../machines/contracts/ports/clock.ts";

/** A process that lived this long was well: its next failure starts the back-off anew. */
const healthyMs = 60_000;
const firstDelayMs = 200;
const maxDelayMs = 10_000;
/** Exit codes that starting again would only repeat: bad usage or configuration, a service out of reach. */
const lasting = new Set([2, 3]);

/** SIGHUP: the terminal is gone. */
const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;

interface Place {
  child: ChildProcess | null;
  failures: number;
  timer: NodeJS.Timeout | null;
}

/**
 * Runs `count` copies of a program as one: a copy that dies is started again with back-off, a signal drains
 * them all, a second signal hurries them all.
 *
 * @param start the argument vector of copy `index`, and its environment
 * @returns the exit code: 0 when all drained well; a lasting code (2, 3) when a copy ended with it; else 1
 */
export function superviseProcesses(
  count: number,
  start: (index: number) => { args: string[]; env: NodeJS.ProcessEnv },
  log: Log,
): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const places: Place[] = Array.from({ length: count }, () => ({
    child: null,
    failures: 0,
    timer: null,
  }));
  let isDraining = false;
  let exitCode = 0;

  const settle = () => {
    if (!isDraining || places.some(({ child }) => child !== null)) return;
    for (const name of signals) process.off(name, drain);
    keep();
    resolve(exitCode);
  };
  const drain = () => {
    isDraining = true;
    for (const place of places) {
      if (place.timer !== null) clearTimeout(place.timer);
      place.child?.kill("SIGTERM");
    }
    settle();
  };
  const raise = (place: Place, index: number) => {
    const { args, env } = start(index);
    const begun = performance.now();
    const child = spawnCopy(args, env);
    place.child = child;
    const onEnd = (code: number | null, signal: NodeJS.Signals | null) => {
      place.child = null;
      if (isDraining) {
        // One that was still starting dies of the signal itself: it had taken nothing.
        if (code !== 0 && signal !== "SIGTERM") exitCode ||= code ?? 1;
        settle();
        return;
      }
      if (code !== null && lasting.has(code)) {
        log.error({ index, code }, "a worker process can't run here: all are stopped");
        exitCode = code;
        drain();
        return;
      }
      place.failures = performance.now() - begun > healthyMs ? 1 : place.failures + 1;
      const delayMs = Math.min(firstDelayMs * 2 ** (place.failures - 1), maxDelayMs);
      log.warn({ index, code, signal, delayMs }, "a worker process ended; it is started again");
      place.timer = setTimeout(() => raise(place, index), delayMs);
    };
    child.once("exit", onEnd);
    child.once("error", (error) => {
      log.error({ err: error, index }, "a worker process could not be started");
      onEnd(2, null);
    });
  };
  const keep = endCopiesAtOnce(() => places.map(({ child }) => child));
  for (const name of signals) process.on(name, drain);
  places.forEach(raise);
  return promise;
}

/** A consumer's name that no other life of a worker has had. */
export function consumerName(workerName: string): string {
  return `${workerName}-${process.pid}-${randomBytes(4).toString("hex")}`;
}
