import { isDeepStrictEqual } from "node:util";
import { toEnvelope } from "../../machines/contracts/domain/job.ts";
import { type StepResult, toResultBody } from "../../machines/contracts/domain/step-result.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Report } from "../../machines/contracts/ports/control-plane.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import type { UsersHandlers } from "../handlers/handler.ts";
import { defaultOptions } from "../options.ts";
import { startRuntime, systemClock } from "../runtime.ts";
import { readEffects } from "./recorded-calls.ts";
import { openLists, RecordedVerdicts } from "./recorded-verdicts.ts";
import {
  changedInput,
  replayArtifacts,
  replayControlPlane,
  replayModels,
  replayRunners,
  replayTools,
} from "./replay-ports.ts";
import { EffectServer } from "./serve-effects.ts";
import type { ReplayEnd, ReplayEvent, ReplayPlan } from "./plan.ts";

/**
 * Walks a recorded step once more through the production runtime: the step chart, the agent loop, the journal's rules
 * and the checks of its output are the worker's own, over neighbours that say what was recorded. Nothing outside is
 * touched before the fork; see {@link EffectServer} for what is afterwards.
 *
 * @param signal ends the walk early; the end then says so
 */
export async function replayStep(given: ReplayPlan, signal: AbortSignal): Promise<ReplayEnd> {
  const counts = { served: 0, made: 0, refused: 0 };
  const differences: string[] = [];
  const onEvent = (event: ReplayEvent) => {
    if (event.type === "effect") {
      if (event.how !== "not made" && event.how !== "failed") counts[event.how] += 1;
      if (event.differs.length > 0)
        differences.push(`what went into ${event.effect} differs: ${event.differs.join(", ")}`);
    }
    given.onEvent(event);
  };
  const plan = { ...given, onEvent };
  const { recording, backend } = plan;
  const read = await readEffects(recording, plan.artifacts);
  const { promise: over, resolve: stop } = Promise.withResolvers<string | null>();
  const server = new EffectServer(plan, read, stop);
  const verdicts = new RecordedVerdicts(plan, read);
  let reported: Report | null = null;
  let waitsFor: string | null = null;
  let states: readonly string[] = [];
  const controlPlane = replayControlPlane(plan, {
    report: (report) => (reported = report),
    approved: ({ digest }) => verdicts.approved(digest),
    unanswered: () => {
      waitsFor = "it waits for a person, who had not answered when it was recorded";
    },
  });
  const job = { ...recording.job, input: changedInput(plan) };
  const ports = {
    queue: backend.queue,
    store: backend.store,
    controlPlane,
    models: replayModels(plan),
    tools: replayTools(plan, read),
    ...replayRunners(plan),
    artifacts: replayArtifacts(plan),
    schemas: plan.schemas,
    clock: systemClock,
    log: silent,
  };
  const { options } = plan;
  const runtime = startRuntime(ports, {
    ...defaultOptions,
    ...options,
    ...handlersOf(options.handlers, recording.job.stepType),
    capacity: 1,
    deadlines: { ...defaultOptions.deadlines, queueMs: null, totalMs: null },
    allowlist: openLists,
    judge: (action, ofJob) => verdicts.judge(action, ofJob),
    onVerdict: (verdict, action) => onEvent({ type: "verdict", verdict, action }),
    aroundEffect: (effect, work, ended) => server.around(effect, work, ended),
    onStepEvent: (notice) => {
      if (notice.kind === "entered") {
        states = [...states, notice.state];
        onEvent({ type: "state", state: notice.state });
      } else if (notice.how === "settled") stop(null);
      else if (notice.how === "parked" && waitsFor !== null) stop(waitsFor);
      else if (notice.how !== "parked" && notice.how !== "released")
        stop(`the walk ended in an unexpected way: ${notice.how}`);
    },
  });
  const onAbort = () => stop("it was stopped");
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    await backend.queue.publish({ data: toEnvelope(job) });
    const ended = runtime.ended.then(({ fault }) => fault ?? "the runtime ended");
    const stoppedBecause = await Promise.race([over, ended]);
    const body = (reported as Report | null)?.body ?? null;
    const result = stoppedBecause === null && body !== null ? resultOf(body) : null;
    if (result !== null && !plan.isChanged) {
      differences.push(...resultDifferences(recording.result, body, recording.job.stepType));
      differences.push(...stateDifferences(recording.stateHistory, states));
    }
    // A step that had not ended can be walked no further; of one that had, something is missing.
    if (recording.result !== null && stoppedBecause !== null)
      differences.push(
        `the step had ended when it was recorded, and this walk did not come so far`,
      );
    const { forkedAt } = server;
    return { result, stoppedBecause, states, forkedAt, differences, ...counts };
  } finally {
    signal.removeEventListener("abort", onAbort);
    await runtime.stop();
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/**
 * The user's own work is done where it is the step's. What a handler did for a call of an agent's stands under that
 * call's own key: it is not called again.
 */
function handlersOf(
  handlers: UsersHandlers | undefined,
  stepType: StepType,
): { handlers?: UsersHandlers } {
  if (handlers === undefined) return {};
  const own = Object.entries(handlers).filter(
    ([key]) => key === stepType || (stepType === "tool" && key.startsWith("tool:")),
  );
  return { handlers: Object.fromEntries(own) as UsersHandlers };
}

/** The wire's own body, read back: what a control plane would have been told. */
function resultOf(body: Report["body"]): StepResult {
  const output = body.output ?? null;
  const { input_tokens: inputTokens, output_tokens: outputTokens } = body;
  const usage =
    inputTokens === undefined || outputTokens === undefined ? null : { inputTokens, outputTokens };
  if (body.status === "completed") return { status: "completed", output, usage };
  const { kind, message, details } = (body.error ?? {}) as JsonObject;
  const failure = { kind, message, retryable: false, ...(details ? { details } : {}) };
  return { status: "failed", failure: failure as never, output, usage };
}

/** What the replay would report, against what was reported. */
function resultDifferences(
  recorded: StepResult | null,
  body: Report["body"] | null,
  stepType: StepType,
): string[] {
  if (recorded === null || body === null) return [];
  const was = toResultBody(recorded, stepType);
  const parts = ["status", "output", "error", "input_tokens", "output_tokens"] as const;
  return parts
    .filter((part) => !isDeepStrictEqual(timeless(was[part]), timeless(body[part])))
    .map((part) => `the result's ${part} differs`);
}

/** How long calls took is not compared. */
function timeless(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(timeless);
  if (typeof value !== "object" || value === null) return value;
  const kept = Object.entries(value as Record<string, Json>).filter(
    ([key, item]) => item !== undefined && key !== "duration_ms" && key !== "durationMs",
  );
  return Object.fromEntries(kept.map(([key, item]) => [key, timeless(item)]));
}

function stateDifferences(recorded: readonly string[], now: readonly string[]): string[] {
  const folded = (states: readonly string[]) =>
    states.filter((state, at) => state !== states[at - 1]);
  const [was, is] = [folded(recorded), folded(now)];
  if (recorded.length === 0 || isDeepStrictEqual(was, is)) return [];
  return [`the states differ: ${was.join(" ▶ ")} was recorded`];
}
