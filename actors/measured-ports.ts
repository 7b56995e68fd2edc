import { type Attributes, type Histogram, metrics } from "@opentelemetry/api";
import type { Outcome } from "../machines/contracts/domain/failure.ts";
import { type Usage, usageOfFailure } from "../machines/contracts/domain/step-result.ts";
import { type RuntimePorts, withVerb } from "./ports.ts";

/*
 * Each call of a neighbour, timed by OpenTelemetry's API. Names that come from outside (models, tools, servers) are
 * attributes, each of them bounded: of more than a hundred different ones the later ones are all "other".
 */

const mostNames = 100;

/** Of a histogram: from a millisecond to about nine hours, since a step may wait for a model, or for a person. */
export const seconds = {
  unit: "s",
  advice: {
    explicitBucketBoundaries: [
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800,
      7_200, 32_400,
    ],
  },
};

/** The same ports, with each call counted. */
export function measurePorts(ports: RuntimePorts): RuntimePorts {
  const planeTime = metrics
    .getMeter("stateplane")
    .createHistogram("stateplane.control_plane.duration", {
      ...seconds,
      description: "Calls of the control plane.",
    });
  return {
    ...ports,
    ...measureStores(ports),
    // What it advertises is asked once a while, and looked up several times a step.
    controlPlane: timed(ports.controlPlane, planeTime, new Set(["extensions"])),
    models: measureModels(ports),
    tools: measureTools(ports),
    sandbox: measureSandbox(ports),
  };
}

/** The times of the store's moves; and the dead letters, each of which is one of them. */
function measureStores({ queue, store }: RuntimePorts): Pick<RuntimePorts, "queue" | "store"> {
  const meter = metrics.getMeter("stateplane");
  const time = meter.createHistogram("stateplane.store.duration", {
    ...seconds,
    description: "Moves of the store of steps.",
  });
  const letters = meter.createCounter("stateplane.dead_letters", {
    description: "Jobs that became dead letters in this worker.",
  });
  const timedQueue = timed(queue, time, new Set(["read", "close"]));
  const timedStore = timed(store, time);
  return {
    queue: withVerb(timedQueue, "deadLetter", async (...given) => {
      const isKept = await timedQueue.deadLetter(...given);
      if (isKept) letters.add(1);
      return isKept;
    }),
    store: withVerb(timedStore, "settle", async (lease, ending) => {
      const write = await timedStore.settle(lease, ending);
      if (write === "written" && ending.deadLetter !== null) letters.add(1);
      return write;
    }),
  };
}

function measureModels({ models }: RuntimePorts): RuntimePorts["models"] {
  const meter = metrics.getMeter("stateplane");
  const time = meter.createHistogram("gen_ai.client.operation.duration", {
    ...seconds,
    description: "Calls of models.",
  });
  const tokens = meter.createHistogram("gen_ai.client.token.usage", {
    unit: "{token}",
    description: "Tokens of a model call.",
    advice: { explicitBucketBoundaries: Array.from({ length: 14 }, (_, power) => 4 ** power) },
  });
  const cost = meter.createCounter("stateplane.model.cost", {
    unit: "{USD}",
    description: "What models cost, as far as their prices are known.",
  });
  const known = new Names();
  const count = (about: Attributes, usage: Usage | null) => {
    if (usage === null) return;
    tokens.record(usage.inputTokens, { ...about, "gen_ai.token.type": "input" });
    tokens.record(usage.outputTokens, { ...about, "gen_ai.token.type": "output" });
    if (usage.costMicros !== undefined) cost.add(usage.costMicros / 1e6, about);
  };
  const nameOf = (provider: string, model: string) => ({
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": known.bounded(provider),
    "gen_ai.request.model": known.bounded(model),
  });
  return withVerb(models, "complete", async (request, signal, onPart) => {
    const begun = performance.now();
    const outcome = await models.complete(request, signal, onPart);
    const spent = (performance.now() - begun) / 1_000;
    if (!outcome.ok) {
      const about = nameOf("unknown", request.model);
      time.record(spent, { ...about, ...errorOf(outcome) });
      count(about, usageOfFailure(outcome.failure));
      return outcome;
    }
    const { provider, model, usage, attempts = [] } = outcome.value;
    time.record(spent, nameOf(provider, model));
    count(nameOf(provider, model), usage);
    for (const tried of attempts) {
      count(nameOf(tried.provider, tried.model), tried.usage ?? null);
    }
    return outcome;
  });
}

function measureTools({ tools }: RuntimePorts): RuntimePorts["tools"] {
  const time = metrics.getMeter("stateplane").createHistogram("stateplane.tool.duration", {
    ...seconds,
    description: "Calls of tools.",
  });
  const known = new Names();
  return withVerb(tools, "call", async (target, ...given) => {
    const begun = performance.now();
    const outcome = await tools.call(target, ...given);
    time.record((performance.now() - begun) / 1_000, {
      server: known.bounded(target.server),
      "gen_ai.tool.name": known.bounded(target.name),
      ...errorOf(outcome),
    });
    return outcome;
  });
}

function measureSandbox({ sandbox }: RuntimePorts): RuntimePorts["sandbox"] {
  if ("missing" in sandbox) return sandbox;
  const time = metrics.getMeter("stateplane").createHistogram("stateplane.sandbox.duration", {
    ...seconds,
    description: "Runs of code in the sandbox.",
  });
  return withVerb(sandbox, "run", async (request, signal) => {
    const begun = performance.now();
    const outcome = await sandbox.run(request, signal);
    const about = { language: request.language, ...errorOf(outcome) };
    time.record((performance.now() - begun) / 1_000, about);
    return outcome;
  });
}

const errorOf = (outcome: Outcome<unknown>): Attributes =>
  outcome.ok ? {} : { "error.type": outcome.failure.kind };

/** Every verb of a port that answers later, timed under its name. */
function timed<Port extends object>(
  port: Port,
  time: Histogram,
  except: ReadonlySet<string> = new Set(),
): Port {
  const made = new Map<string, unknown>();
  return new Proxy(port, {
    get(target, verb) {
      const value: unknown = Reflect.get(target, verb);
      if (typeof value !== "function" || typeof verb !== "string") return value;
      if (except.has(verb)) return value.bind(target);
      const earlier = made.get(verb);
      if (earlier !== undefined) return earlier;
      const call = (...given: unknown[]): unknown => {
        const begun = performance.now();
        const record = (about: Attributes) =>
          time.record((performance.now() - begun) / 1_000, { operation: verb, ...about });
        const answer: unknown = Reflect.apply(value, target, given);
        if (!(answer instanceof Promise)) return answer;
        return answer.then(
          (outcome: unknown) => {
            record(isFailure(outcome) ? errorOf(outcome) : {});
            return outcome;
          },
          (error: unknown) => {
            record({ "error.type": "thrown" });
            throw error;
          },
        );
      };
      made.set(verb, call);
      return call;
    },
  });
}

const isFailure = (answer: unknown): answer is Outcome<never> =>
  typeof answer === "object" && answer !== null && "ok" in answer && answer.ok === false;

/** Names from outside, as many as a collector bears. */
class Names {
  readonly #known = new Set<string>();

  bounded(name: string): string {
    if (this.#known.has(name)) return name;
    if (this.#known.size >= mostNames) return "other";
    this.#known.add(name);
    return name;
  }
}
