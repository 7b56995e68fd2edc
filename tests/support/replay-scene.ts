import type { ReplayEnd, ReplayEvent, ReplayPlan } from "../../actors/replay/plan.ts";
import { replayStep } from "../../actors/replay/replay-step.ts";
import { defaultOptions } from "../../actors/options.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import {
  readRecording,
  recordingId,
  type StepRecording,
} from "../../machines/contracts/domain/recording.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { value } from "./value.ts";

/** The recording that a worker kept of an ended step. */
export async function keptRecording(
  artifacts: ArtifactStore,
  runId: string,
  stepId: string,
): Promise<StepRecording> {
  const { content } = value(await artifacts.get(runId, recordingId(stepId)));
  const read = readRecording(JSON.parse(new TextDecoder().decode(content)));
  if (typeof read === "string") throw new Error(read);
  return read;
}

/** Replays a recording, by itself or as the plan says; with all that it told. */
export async function replayed(
  recording: StepRecording,
  artifacts: ArtifactStore,
  more: Partial<ReplayPlan> = {},
): Promise<ReplayEnd & { events: ReplayEvent[]; effects: string[] }> {
  const events: ReplayEvent[] = [];
  const backend = await createSqliteBackend({
    path: ":memory:",
    consumer: "replay",
    clock: systemClock,
  });
  try {
    const end = await replayStep(
      {
        recording,
        changes: {},
        isChanged: false,
        forkAt: null,
        newPolicy: defaultOptions,
        newCalls: "none",
        models: null,
        tools: null,
        options: defaultOptions,
        artifacts,
        schemas: createSchemaChecker(),
        backend,
        onEvent: (event) => void events.push(event),
        ...more,
      },
      AbortSignal.timeout(10_000),
    );
    const effects = events.flatMap((event) =>
      event.type === "effect" ? [`${event.effect} ${event.how}`] : [],
    );
    return { ...end, events, effects };
  } finally {
    await backend.close();
  }
}
