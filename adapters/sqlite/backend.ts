import type { Clock } from "../../machines/contracts/ports/clock.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { isFile, openDatabase } from "./database.ts";
import { prepareLetters } from "./dead-letters.ts";
import { prepareEntries, createStepQueue, waitersOf } from "./step-queue.ts";
import { prepareSteps, createStepStore } from "./step-store.ts";

/**
 * Queue and store in SQLite, for one machine: any number of its processes may share the file.
 *
 * @param options.path a file; or `:memory:`, which nobody shares; or `file:NAME?mode=memory&cache=shared`,
 *   which the homes of one process share
 * @param options.consumer unique to this process's life
 * @param options.clock all times are read from it and all waits made through it
 */
export async function createSqliteBackend(options: {
  path: string;
  consumer: string;
  clock: Clock;
}): Promise<StepBackend> {
  const { path, consumer, clock } = options;
  const database = openDatabase(path);
  const parts = {
    database,
    clock,
    entries: prepareEntries(database),
    steps: prepareSteps(database),
    letters: prepareLetters(database),
    waiters: waitersOf(path, clock),
  };
  const queue = createStepQueue(parts, consumer);
  return {
    queue,
    store: createStepStore(parts, consumer),
    describe: isFile(path) ? `SQLite in ${path}` : "SQLite in memory",
    warnings: [],
    close: async () => {
      await queue.close();
      if (database.sql.isOpen) database.sql.close();
    },
  };
}
