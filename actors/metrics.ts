import type {
  Counter,
  Histogram,
  Instrument,
  Labels,
  Meter,
} from "../machines/contracts/ports/meter.ts";
import type { QueueStats } from "../machines/contracts/ports/step-backend.ts";
import type { RuntimeOptions, StepEndNotice } from "./options.ts";
import { foundBy, measurePorts, seconds } from "./measured-ports.ts";
import type { RuntimePorts } from "./ports.ts";
import type { Runtime } from "./runtime.ts";

/*
 * What a worker counts of its work. Models' calls go by OpenTelemetry's conventions for generative AI; times are in
 * seconds, money in dollars. No id of a run, a step or a tenant is a label.
 */

const statsWithinMs = 2_000;

/** The same ports and options, with each call and each step counted, and what tells of the runtime made from them. */
export function measure(
  ports: RuntimePorts,
  options: RuntimeOptions,
  meter: Meter,
): { ports: RuntimePorts; options: RuntimeOptions; watch: (runtime: Runtime) => void } {
  const verdicts = meter.createCounter("stateplane.policy.verdicts", {
    description: "Verdicts of policy on actions.",
  });
  const verdict = foundBy(verdicts, (kind) => ({ verdict: kind }));
  const onStepEvent = stepEvents(options.onStepEvent, meter);
  return {
    ports: measurePorts(ports, meter),
    options: { ...options, onStepEvent, onVerdict: ({ kind }) => verdict(kind).add(1) },
    watch: (runtime) => watchRuntime(runtime, ports, { options, meter }),
  };
}

function stepEvents(
  told: RuntimeOptions["onStepEvent"],
  meter: Meter,
): NonNullable<RuntimeOptions["onStepEvent"]> {
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
  const stateTimeOf = foundBy(stateTime, (state) => ({ state }));
  const endsOf = new Ends(steps, stepTime);

  return (notice) => {
    const { left } = notice;
    if (left !== null) stateTimeOf(left.state).record(left.stayedMs / 1_000);
    if (notice.kind === "ended") {
      const stepType = notice.stepType ?? "unknown";
      const { count, time } = endsOf.find(stepType, endOf(notice));
      count.add(1);
      if (notice.how === "settled") time.record(notice.tookMs / 1_000);
      const repeated = notice.how === "settled" ? (notice.snapshot?.context.attempts ?? 0) : 0;
      if (repeated > 0) retries.with({ "step.type": stepType }).add(repeated);
      if (notice.deliveries > 1) takeovers.with({ "step.type": stepType }).add(1);
    }
    told?.(notice);
  };
}

/** The counter and the time of each way in which steps of a type end. */
class Ends {
  readonly #known = new Map<string, { count: Counter; time: Histogram }>();
  readonly #steps: Instrument<Counter>;
  readonly #times: Instrument<Histogram>;

  constructor(steps: Instrument<Counter>, times: Instrument<Histogram>) {
    this.#steps = steps;
    this.#times = times;
  }

  find(stepType: string, end: Labels & { outcome: string }): { count: Counter; time: Histogram } {
    const key = `${stepType} ${end.outcome} ${end["error.type"]}`;
    let found = this.#known.get(key);
    if (found === undefined) {
      const labels = { "step.type": stepType, ...end };
      found = { count: this.#steps.with(labels), time: this.#times.with(labels) };
      this.#known.set(key, found);
    }
    return found;
  }
}

function endOf({ how, snapshot }: StepEndNotice): Labels & { outcome: string } {
  if (how !== "settled") return { outcome: how };
  const result = snapshot?.context.result ?? null;
  if (result === null) return { outcome: "ended_before" };
  if (result.status === "completed") return { outcome: "completed" };
  return { outcome: "failed", "error.type": result.failure.kind };
}

/** What is looked at when somebody reads: the steps alive by their states, and the stream. */
function watchRuntime(
  runtime: Runtime,
  { queue }: RuntimePorts,
  { options, meter }: { options: RuntimeOptions; meter: Meter },
): void {
  const gauge = (name: string, description: string, unit = "") =>
    meter.createGauge(`stateplane.${name}`, { description, unit });
  const capacity = gauge("steps.capacity", "Steps that this worker may run at once.");
  const running = gauge("steps.running", "Steps alive in this worker, by state.");
  const waiting = gauge("queue.waiting", "Jobs on the stream that no worker has taken.");
  const taken = gauge("queue.taken", "Jobs that a worker has taken and not ended.");
  const letters = gauge("queue.dead_letters", "Dead letters that are kept.");
  const parked = gauge("steps.parked", "Steps put away as data, that wait for a person or a time.");
  const lag = gauge("queue.lag", "How long the job has waited that is to be taken next.", "s");
  meter.onRead(async (show) => {
    show(capacity, options.capacity);
    const byState = new Map<string, number>();
    for (const { session } of runtime.steps()) {
      const state = session.stateHistory.at(-1) ?? "pending";
      byState.set(state, (byState.get(state) ?? 0) + 1);
    }
    for (const [state, count] of byState) show(running, count, { state });
    const found = await within(queue.stats(), statsWithinMs);
    if (found === null) return;
    show(waiting, Math.max(0, found.length - found.pending));
    show(taken, found.pending);
    show(letters, found.deadLetters);
    show(parked, found.parked);
    show(lag, (found.waitingMs ?? 0) / 1_000);
  });
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
