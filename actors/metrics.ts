import { type Attributes, metrics } from "@opentelemetry/api";
import type { QueueStats } from "../machines/contracts/ports/step-backend.ts";
import type { RuntimeOptions, StepEventNotice } from "./options.ts";
import { measurePorts, seconds } from "./measured-ports.ts";
import type { RuntimePorts } from "./ports.ts";
import type { Runtime } from "./runtime.ts";

/*
 * What a worker counts of its work, by OpenTelemetry's API: where nobody has set a provider of meters, nothing is
 * recorded. Models' calls go by the conventions for generative AI; times are in seconds, money in dollars.
 * No id of a run, a step or a tenant is an attribute.
 */

const statsWithinMs = 2_000;

/** The same ports and options, with each call and each step counted, and what tells of the runtime made from them. */
export function measure(
  ports: RuntimePorts,
  options: RuntimeOptions,
): { ports: RuntimePorts; options: RuntimeOptions; watch: (runtime: Runtime) => void } {
  const meter = metrics.getMeter("stateplane");
  const verdicts = meter.createCounter("stateplane.policy.verdicts", {
    description: "Verdicts of policy on actions.",
  });
  const onStepEvent = stepEvents(options.onStepEvent);
  return {
    ports: measurePorts(ports),
    options: {
      ...options,
      onStepEvent,
      onVerdict: ({ kind }) => verdicts.add(1, { verdict: kind }),
    },
    watch: (runtime) => watchRuntime(runtime, ports, options),
  };
}

function stepEvents(told: RuntimeOptions["onStepEvent"]): NonNullable<typeof told> {
  const meter = metrics.getMeter("stateplane");
  const steps = meter.createCounter("stateplane.steps", {
    description: "Sessions of steps in this worker that ended, by how.",
  });
  const stateTime = meter.createHistogram("stateplane.step.state.duration", {
    ...seconds,
    description: "Time that a step spent in a state, in one stay.",
  });
  const stepTime = meter.createHistogram("stateplane.step.duration", {
    ...seconds,
    description: "Time from taking up a step to its end in this worker.",
  });
  const retries = meter.createCounter("stateplane.step.retries", {
    description: "Attempts of steps' work after the first.",
  });
  const takeovers = meter.createCounter("stateplane.step.takeovers", {
    description: "Jobs delivered more than once.",
  });
  const staying = new Map<string, { state: string; since: number; begun: number }>();

  return (notice) => {
    const key = `${notice.runId}/${notice.stepId}`;
    const now = performance.now();
    const stay = staying.get(key);
    if (stay !== undefined) stateTime.record((now - stay.since) / 1_000, { state: stay.state });
    if (notice.kind === "entered") {
      staying.set(key, { state: notice.state, since: now, begun: stay?.begun ?? now });
    } else {
      staying.delete(key);
      const stepType = notice.stepType ?? "unknown";
      const about = { "step.type": stepType, ...endOf(notice) };
      steps.add(1, about);
      if (stay !== undefined && notice.how === "settled") {
        stepTime.record((now - stay.begun) / 1_000, about);
      }
      const repeated = notice.how === "settled" ? (notice.snapshot?.context.attempts ?? 0) : 0;
      if (repeated > 0) retries.add(repeated, { "step.type": stepType });
      if (notice.deliveries > 1) takeovers.add(1, { "step.type": stepType });
    }
    told?.(notice);
  };
}

function endOf({
  how,
  snapshot,
}: Extract<StepEventNotice, { kind: "ended" }>): Attributes & { outcome: string } {
  if (how !== "settled") return { outcome: how };
  const result = snapshot?.context.result ?? null;
  if (result === null) return { outcome: "ended_before" };
  if (result.status === "completed") return { outcome: "completed" };
  return { outcome: "failed", "error.type": result.failure.kind };
}

/** What is looked at when somebody reads: the steps alive by their states, and the stream. */
function watchRuntime(runtime: Runtime, { queue }: RuntimePorts, options: RuntimeOptions): void {
  const meter = metrics.getMeter("stateplane");
  const gauge = (name: string, description: string, unit = "") =>
    meter.createObservableGauge(`stateplane.${name}`, { description, unit });
  gauge("steps.capacity", "Steps that this worker may run at once.").addCallback((result) =>
    result.observe(options.capacity),
  );
  gauge("steps.running", "Steps alive in this worker, by state.").addCallback((result) => {
    const byState = new Map<string, number>();
    for (const { session } of runtime.steps()) {
      const state = session.stateHistory.at(-1) ?? "pending";
      byState.set(state, (byState.get(state) ?? 0) + 1);
    }
    for (const [state, count] of byState) result.observe(count, { state });
  });
  const stream = {
    waiting: gauge("queue.waiting", "Jobs on the stream that no worker has taken."),
    taken: gauge("queue.taken", "Jobs that a worker has taken and not ended."),
    letters: gauge("queue.dead_letters", "Dead letters that are kept."),
    parked: gauge("steps.parked", "Steps put away as data, that wait for a person or a time."),
    lag: gauge("queue.lag", "How long the job has waited that is to be taken next.", "s"),
  };
  meter.addBatchObservableCallback(
    async (result) => {
      const found = await within(queue.stats(), statsWithinMs);
      if (found === null) return;
      result.observe(stream.waiting, Math.max(0, found.length - found.pending));
      result.observe(stream.taken, found.pending);
      result.observe(stream.letters, found.deadLetters);
      result.observe(stream.parked, found.parked);
      result.observe(stream.lag, (found.waitingMs ?? 0) / 1_000);
    },
    [stream.waiting, stream.taken, stream.letters, stream.parked, stream.lag],
  );
}

/** Null for what failed or took too long: a reader of metrics waits for no store. */
async function within(asked: Promise<QueueStats>, ms: number): Promise<QueueStats | null> {
  const { promise, resolve } = Promise.withResolvers<null>();
  const timer = setTimeout(() => resolve(null), ms).unref();
  try {
    return await Promise.race([asked, promise]);
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
  }
}
