import type { Json } from "../../../../machines/contracts/domain/json.ts";
import type { WorkflowValues } from "../../../../machines/contracts/ports/workflow-engine.ts";
import type { openWorkflowTables } from "./tables.ts";

/*
 * What a run's steps brought, for one change of the run. A change is a transaction, and nobody else is served while it
 * lasts: so all that is read and written in it is counted. What can wait is left for another one once there is as much as
 * in any ordinary change; what can't, the results of a hundred steps put together, say, ends the run far beyond that.
 */

/** Characters that one change reads and writes before the rest is for another one: some tens of milliseconds. */
export const usualChange = 4 * 1024 * 1024;
/** Characters that one change may read and write at all: less than a second, and no more than a process has room for. */
const longestChange = 64 * 1024 * 1024;

type Tables = Pick<ReturnType<typeof openWorkflowTables>, "value" | "putValue">;

/**
 * @param most after how many characters a change is full
 * @param onSpent hears of every character
 * @throws RangeError from its methods, once there are far too many
 */
export function openValues(
  tables: Tables,
  runId: string,
  most: number,
  onSpent: (characters: number) => void,
): WorkflowValues {
  /** Each is read once, however many steps look at it. */
  const known = new Map<string, Json | undefined>();
  let spent = 0;
  const spend = (characters: number) => {
    spent += characters;
    onSpent(characters);
    if (spent <= longestChange) return;
    const message = `what its steps bring together is longer than ${longestChange} characters: let them bring less, or put long results into artifacts`;
    throw new RangeError(message);
  };
  return {
    spend,
    isFull: () => spent >= most,
    read(kind, step) {
      const key = `${kind} ${step}`;
      if (known.has(key)) return known.get(key);
      const found = tables.value(runId, kind, step);
      spend(found?.length ?? 0);
      known.set(key, found?.value);
      return found?.value;
    },
    keep(kind, step, value) {
      spend(tables.putValue(runId, kind, step, value));
      known.set(`${kind} ${step}`, value);
    },
  };
}
