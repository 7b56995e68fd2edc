import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/*
 * While modules load, V8's young generation grows to its limit, and what loading left behind stays where it is: only a
 * collection that is told to save memory makes it smaller, and a worker without steps allocates too little to come to
 * any. So one is made, once, when the worker has had nothing to do for a moment: a quarter of what it held is given back
 * to the system. It takes some tenths of a second at most, and a job that comes just then waits for its end. So a worker
 * that has steps now and then is left alone, however short they are: it uses what it has.
 */

const lookMs = 500;
/** Looks in a row that must find no step, and none begun since the look before. */
const quietLooks = 3;

export interface Workload {
  /** Steps alive now. */
  running: number;
  /** Jobs taken since the start. */
  taken: number;
}

/**
 * @param workload what the worker has to do, at each look
 * @returns ends the looking
 */
export function collectWhenIdle(workload: () => Workload, collect = collectAll): () => void {
  let quiet = 0;
  let takenBefore = 0;
  const timer = setInterval(() => {
    const { running, taken } = workload();
    quiet = running > 0 || taken > takenBefore ? 0 : quiet + 1;
    takenBefore = taken;
    if (quiet < quietLooks) return;
    clearInterval(timer);
    collect();
  }, lookMs);
  // It keeps nobody's process alive.
  timer.unref();
  return () => clearInterval(timer);
}

/** V8's collector is reached by a flag alone, which shows it to contexts that are made while it is set. */
function collectAll(): void {
  setFlagsFromString("--expose-gc");
  const collector: unknown = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  if (typeof collector !== "function") return;
  collector({ type: "major", execution: "sync", flavor: "last-resort" });
}
