import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import {
  readRecording,
  recordingId,
  recordingOf,
  type StepRecording,
} from "../../machines/contracts/domain/recording.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { DeadLetter, StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { parseJson } from "../../machines/contracts/domain/json.ts";
import { commandLine } from "../called-as.ts";
import { CliError, failureError } from "../output/errors.ts";

/** Letters that are looked through for a step. */
const mostLetters = 10_000;

export interface LoadedRecording {
  recording: StepRecording;
  /** For a person: where it was found. */
  from: string;
}

/**
 * What is recorded of a step: the artifact that a worker kept of it when it ended, its dead letter, or its record in the
 * store while it has not ended.
 *
 * @returns null where nothing is
 * @throws CliError where what there is can't be read
 */
export async function loadRecording(
  { runId, stepId }: StepKey,
  backend: StepBackend,
  artifacts: ArtifactStore,
): Promise<LoadedRecording | null> {
  const key = { runId, stepId };
  const read = (recording: StepRecording | string, from: string): LoadedRecording => {
    if (typeof recording !== "string") return { recording, from };
    throw new CliError(
      2,
      `what is recorded of step ${stepId} can't be read: ${recording} (${from})`,
    );
  };
  const record = await backend.store.find(key);
  if (record !== null && record.phase !== "reported" && record.job !== null) {
    const from = `its record in ${backend.describe} (${record.phase})`;
    return read(recordingOf(record), from);
  }
  const letters = await backend.queue.deadLetters(mostLetters);
  const letter = letters.find(({ fields }) => isOf(fields, key));
  if (letter !== undefined) return read(ofLetter(letter, key), `dead letter ${letter.id}`);
  const found = await artifacts.get(runId, recordingId(stepId));
  if (!found.ok) {
    if (found.failure.kind === "not_found") return null;
    throw failureError(found.failure);
  }
  const parsed = parseJson(new TextDecoder().decode(found.value.content));
  return read(
    parsed.ok ? readRecording(parsed.value) : parsed.problem,
    "the journal that was kept of it",
  );
}

/** What to do so that the next step has one. */
export const noRecording = ({ runId, stepId }: StepKey): CliError =>
  new CliError(
    2,
    `nothing is recorded of step ${stepId} of run ${runId}: the journal of a step is dropped when it ends, unless WORKER_KEEP_JOURNALS=on is set for the worker that runs it (\`${commandLine("dev")}\` does by itself); steps that wait and dead letters have theirs in any case`,
  );

function isOf(fields: Record<string, string>, { runId, stepId }: StepKey): boolean {
  const parsed = parseJob(fields);
  const named = parsed.valid ? parsed.job : parsed.invalid;
  return named.runId === runId && named.stepId === stepId;
}

function ofLetter(letter: DeadLetter, key: StepKey): StepRecording | string {
  const parsed = parseJob(letter.fields);
  if (!parsed.valid) return parsed.invalid.failure.message;
  const { journal, snapshot, stateHistory, result } = letter;
  return recordingOf({
    ...key,
    job: parsed.job,
    journal,
    snapshot,
    stateHistory,
    result: result || null,
  });
}
