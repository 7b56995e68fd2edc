import { randomUUID } from "node:crypto";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import { defaultOptions } from "../../actors/options.ts";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import { liveOnce, noNeighbours } from "../kit/live-once.ts";
import {
  type SimulatedControlPlane,
  simulatedControlPlane,
} from "../kit/simulated-control-plane.ts";
import { type VirtualClock, virtualClock } from "../kit/virtual-clock.ts";
import { corpusJob, corpusStep, type CorpusWorld } from "./corpus-steps.ts";

/** One step of the corpus, its neighbours, and a store in memory. */
export interface CorpusScene {
  backend: StepBackend;
  clock: VirtualClock;
  controlPlane: SimulatedControlPlane;
  world: CorpusWorld;
  /** Delivers the job once, and lets a worker have it until it ends there; how it ended. */
  deliver(): Promise<string>;
  close(): Promise<void>;
}

export async function corpusScene(asksAtOnce: boolean): Promise<CorpusScene> {
  const clock = virtualClock();
  const { approvalMs } = defaultOptions.deadlines;
  const controlPlane = simulatedControlPlane(corpusJob, {
    answers: [],
    now: clock.now,
    approvalMs,
  });
  const consumer = `corpus-${randomUUID()}`;
  const backend = await createSqliteBackend({ path: ":memory:", consumer, clock });
  const world: CorpusWorld = { done: [], isBusy: false, losesAnswers: false };
  const handlers = { llm: corpusStep(world, asksAtOnce) };
  const ports = {
    ...noNeighbours,
    queue: backend.queue,
    store: backend.store,
    clock,
    controlPlane,
  };
  return {
    backend,
    clock,
    controlPlane,
    world,
    async deliver() {
      await backend.queue.publish({ data: toEnvelope(corpusJob) });
      const [delivery] = await backend.queue.read(1, 0, new AbortController().signal);
      if (delivery === undefined) throw new Error("nothing was delivered");
      const allowlist = { allowed: [], approvalRequired: ["write"], denied: [] };
      const options = { ...defaultOptions, allowlist, handlers };
      return liveOnce(ports, options, { job: corpusJob, delivery }).ended;
    },
    close: () => backend.close(),
  };
}

/** Everybody who is asked says yes. */
export function grantAll({ controlPlane }: CorpusScene): void {
  for (const question of controlPlane.questions) {
    if (question.status === "pending") question.status = "approved";
  }
}
