import type { LedgerWorkerOptions } from "./ledger-worker.ts";
import { type Child, spawnChild } from "./spawn-child.ts";

/** A worker in a process of its own. */
export const spawnWorker = (options: LedgerWorkerOptions): Child =>
  spawnChild("worker.ts", "STATEPLANE_CHAOS_WORKER", options);
