import type { Clock } from "../../machines/contracts/ports/clock.ts";
import { rejectingWith } from "../../machines/contracts/domain/errors.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { isFile, openDatabase, toStoreError } from "./database.ts";
import { prepareLetters } from "./dead-letters.ts";
import { prepareEntries, createStepQueue, waitersOf } from "./step-queue.ts";
import { createToolPins } from "./tool-pins.ts";
import { prepareSteps, createStepStore } from "./step-store.ts";

export interface SqliteBackendOptions {
  /**
   * A file; or `:memory:`, which nobody shares; or `file:NAME?mode=memory&cache=shared`, which the backends of one
   * process share.
   */
  path: string;
  /** Unique to this process's life. */
  consumer: string;
  /** All times are read from it and all waits made through it; its monotonic time is the same in all processes. */
  clock: Clock;
  /**
   * How long an ended step is remembered, milliseconds, so that a late duplicate of its job is not run again; an hour
   * by default.
   */
  rememberMs?: number;
  /** Of more dead letters the oldest are dropped; 10,000 by default. */
  maxDeadLetters?: number;
}

/**
 * Queue and store in SQLite, for one machine: any number of its processes may share the file.
 *
 * @throws StoreUnreachable when the file can't be used
 */
export async function createSqliteBackend(options: SqliteBackendOptions): Promise<StepBackend> {
  const { path, clock, rememberMs = 60 * 60 * 1_000, maxDeadLetters = 10_000 } = options;
  const database = await openDatabase(path);
  const steps = prepareSteps(database);
  const parts = {
    database,
    clock,
    steps,
    entries: prepareEntries(database),
    letters: prepareLetters(database, maxDeadLetters),
    waiters: waitersOf(path, clock),
    rememberMs,
  };
  const queue = createStepQueue(parts, options.consumer);
  const store = createStepStore(parts, options.consumer);
  return {
    queue: rejectingWith(queue, (error) => toStoreError(error, "queue")),
    store: rejectingWith(store, (error) => toStoreError(error, "step")),
    pins: rejectingWith(createToolPins(database), (error) => toStoreError(error, "queue")),
    describe: isFile(path) ? `SQLite in ${path}` : "SQLite in memory",
    warnings: [],
    close: async () => {
      await queue.close();
      if (database.sql.isOpen) database.sql.close();
    },
  };
}
