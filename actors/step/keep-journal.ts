import { recordingId, recordingOf } from "../../machines/contracts/domain/recording.ts";
import type { ActivityScope } from "./session.ts";

/**
 * Keeps what happened in a step as an artifact of it, before its record is closed and its journal dropped. A worker that
 * dies in between leaves a record with a result, and whoever sends that keeps the same once more. What can't be kept is
 * said, and holds up no step: the recording is for people, and no promise rests on it.
 */
export async function keepJournal(scope: ActivityScope): Promise<void> {
  const { ports, session, context, persist, options } = scope;
  if (options.keepJournals !== true || session.job === null) return;
  const { log, key, stateHistory, job } = session;
  try {
    const record = await ports.store.find(key);
    const recording = recordingOf({
      ...key,
      job,
      journal: record?.journal ?? [],
      snapshot: persist(),
      action: session.judgedAction,
      stateHistory,
      result: context.undelivered ?? context.result,
    });
    if (typeof recording === "string") {
      log.warn({ problem: recording }, "the step's journal can't be kept");
      return;
    }
    const put = await ports.artifacts.put(key, {
      id: recordingId(key.stepId),
      name: "recording.json",
      kind: "trace",
      content: JSON.stringify(recording),
    });
    if (put.ok) log.debug({ bytes: put.value.size }, "the step's journal is kept as an artifact");
    else log.warn({ failure: put.failure }, "the step's journal could not be kept");
  } catch (error) {
    if (scope.signal.aborted) throw error;
    log.warn({ err: error }, "the step's journal could not be kept");
  }
}
