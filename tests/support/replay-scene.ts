import type { ReplayEnd, ReplayEvent, ReplayPlan } from "../../actors/replay/plan.ts";
import { replayStep } from "../../actors/replay/replay-step.ts";
import { defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import {
  readRecording,
  recordingId,
  type StepRecording,
} from "../../machines/contracts/domain/recording.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { agentModel, agentTools, type Answer } from "./agent-world.ts";
import type { HumanScene } from "./human-scene.ts";
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

export const allowlist = {
  allowed: ["read", "write", "post"],
  approvalRequired: [],
  denied: ["erase"],
};

export const reading = (path: string) => ({ name: "read", arguments: { path } });
export const writing = (path: string) => ({ name: "write", arguments: { path } });
export const finished: Answer = { content: "All tidy." };

export const toolNames = ["read", "write", "erase"];

/** One worker, and a model that answers each run by its own script. */
export async function recorder(
  scene: HumanScene,
  options: Partial<RuntimeOptions> = {},
  ports: Partial<RuntimePorts> = {},
) {
  const scripts = new Map<string, Answer[]>();
  const model = agentModel(({ messages }, turn) => {
    const task = messages.find(({ role }) => role === "user")?.content ?? "";
    return scripts.get(task)?.[turn] ?? finished;
  });
  const tools = agentTools(toolNames);
  const neighbours = { models: model.models, tools: tools.tools, ...ports };
  const worker = await scene.worker(
    { allowlist, keepJournals: true, ...options },
    () => neighbours,
  );
  const { artifacts } = worker.ports;
  const start = async (answers: Answer[], input: JsonObject = {}) => {
    const task = `Tidy the files (${scripts.size})`;
    scripts.set(task, answers);
    const step = { type: "llm", input: { task, ...input } } as const;
    const { runId, stepIds } = await scene.run([step]);
    return { runId, stepId: stepIds[0] ?? "" };
  };
  const ended = async ({ runId, stepId }: { runId: string; stepId: string }) => {
    const view = await scene.ended(runId, stepId);
    await scene.idle();
    return { view, recording: await keptRecording(artifacts, runId, stepId) };
  };
  const touched = () => [model.requests.length, tools.calls.length];
  return { start, ended, artifacts, model, tools, touched };
}

export const answer = async (scene: HumanScene, ...approves: boolean[]) => {
  for (const yes of approves) {
    const [question] = await scene.questions(1);
    await scene.answer(question?.id ?? "", yes);
  }
};
