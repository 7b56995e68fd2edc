import type { StepRecord } from "../../machines/contracts/domain/record.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { effects } from "./promises/effects.ts";
import { ends } from "./promises/ends.ts";
import type { Ending, History, Promises } from "./promises/history.ts";
import { permission } from "./promises/permission.ts";
import { silence } from "./promises/silence.ts";
import { clocks, endedRuns, trouble } from "./promises/trouble.ts";
import { lettersByStep } from "./rest.ts";
import type { Stage } from "./worker.ts";

/** A promise that a history broke, and how. */
export interface Broken {
  promise: string;
  how: string;
}

export const promises: Promises = {
  ...ends,
  ...effects,
  ...permission,
  ...trouble,
  ...endedRuns,
  ...clocks,
  ...silence,
};

/** What a finished history broke. */
export async function brokenPromises(
  stage: Stage,
  backend: StepBackend,
  ending: Ending,
): Promise<Broken[]> {
  const records = new Map<string, StepRecord | null>();
  for (const { stepId, runId } of stage.plan.steps) {
    records.set(stepId, await backend.store.find({ runId, stepId }));
  }
  const [stats, letters] = [await backend.queue.stats(), await backend.queue.deadLetters(1_000)];
  const letterOf = lettersByStep(letters);
  const history: History = { ...stage, ...ending, records, stats, letters, letterOf };
  return Object.entries(promises).flatMap(([promise, broken]) =>
    broken(history).map((how) => ({ promise, how })),
  );
}
