import type { Outcome } from "../machines/contracts/domain/failure.ts";
import { type Usage, usageOfFailure } from "../machines/contracts/domain/step-result.ts";
import type { Histogram, Instrument, Labels, Meter } from "../machines/contracts/ports/meter.ts";
import { type RuntimePorts, withVerb } from "./ports.ts";

/*
 * Each call of a neighbour, timed. Names that come from outside (models, tools, servers) are
 * labels, each of them bounded: of more than a hundred different ones the later ones are all "other".
 */

const mostNames = 100;

/** Of a histogram: from a millisecond to about nine hours, since a step may wait for a model, or for a person. */
export const seconds = {
  unit: "s",
  boundaries: [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800,
    7_200, 32_400,
  ],
};

/** What an instrument counts under the labels of a word, looked up when a word comes first: words are few. */
export function foundBy<Counted>(
  instrument: Instrument<Counted>,
  labelsOf: (word: string) => Labels,
): (word: string) => Counted {
  const known = new Map<string, Counted>();
  return (word) => {
    let found = known.get(word);
    if (found === undefined) {
      found = instrument.with(labelsOf(word));
      known.set(word, found);
    }
    return found;
  };
}

/** The same ports, with each call counted. */
export function measurePorts(ports: RuntimePorts, meter: Meter): RuntimePorts {
  const planeTime = meter.createHistogram("stateplane.control_plane.duration", {
    ...seconds,
    description: "Calls of the control plane.",
  });
  return {
    ...ports,
    ...measureStores(ports, meter),
    // What it advertises is asked once a while, and looked up several times a step.
    controlPlane: timed(ports.controlPlane, planeTime, new Set(["extensions"])),
    models: measureModels(ports, meter),
    tools: measureTools(ports, meter),
    sandbox: measureSandbox(ports, meter),
  };
}

/** The times of the store's moves; and the dead letters, each of which is one of them. */
function measureStores(
  { queue, store }: RuntimePorts,
  meter: Meter,
): Pick<RuntimePorts, "queue" | "store"> {
  const time = meter.createHistogram("stateplane.store.duration", {
    ...seconds,
    description: "Moves of the store of steps.",
  });
  const letters = meter.createCounter("stateplane.dead_letters", {
    description: "Jobs that became dead letters in this worker.",
  });
  const letter = letters.with({});
  const countedQueue = withVerb(queue, "deadLetter", async (...given) => {
    const isKept = await queue.deadLetter(...given);
    if (isKept) letter.add(1);
    return isKept;
  });
  const countedStore = withVerb(store, "settle", (lease, ending) => {
    const settling = store.settle(lease, ending);
    if (ending.deadLetter === null) return settling;
    return settling.then((write) => {
      if (write === "written") letter.add(1);
      return write;
    });
  });
  return {
    queue: timed(countedQueue, time, new Set(["read", "close"])),
    store: timed(countedStore, time),
  };
}

function measureModels({ models }: RuntimePorts, meter: Meter): RuntimePorts["models"] {
  const time = meter.createHistogram("gen_ai.client.operation.duration", {
    ...seconds,
    description: "Calls of models.",
  });
  const tokens = meter.createHistogram("gen_ai.client.token.usage", {
    unit: "{token}",
    description: "Tokens of a model call.",
    boundaries: Array.from({ length: 14 }, (_, power) => 4 ** power),
  });
  const cost = meter.createCounter("stateplane.model.cost", {
    unit: "{USD}",
    description: "What models cost, as far as their prices are known.",
  });
  const known = new Names();
  const count = (about: Labels, usage: Usage | null) => {
    if (usage === null) return;
    tokens.with({ ...about, "gen_ai.token.type": "input" }).record(usage.inputTokens);
    tokens.with({ ...about, "gen_ai.token.type": "output" }).record(usage.outputTokens);
    if (usage.costMicros !== undefined) cost.with(about).add(usage.costMicros / 1e6);
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
      time.with({ ...about, ...errorOf(outcome) }).record(spent);
      count(about, usageOfFailure(outcome.failure));
      return outcome;
    }
    const { provider, model, usage, attempts = [] } = outcome.value;
    const about = nameOf(provider, model);
    time.with(about).record(spent);
    count(about, usage);
    for (const tried of attempts) {
      count(nameOf(tried.provider, tried.model), tried.usage ?? null);
    }
    return outcome;
  });
}

function measureTools({ tools }: RuntimePorts, meter: Meter): RuntimePorts["tools"] {
  const time = meter.createHistogram("stateplane.tool.duration", {
    ...seconds,
    description: "Calls of tools.",
  });
  const known = new Names();
  return withVerb(tools, "call", async (target, ...given) => {
    const begun = performance.now();
    const outcome = await tools.call(target, ...given);
    const about = {
      server: known.bounded(target.server),
      "gen_ai.tool.name": known.bounded(target.name),
      ...errorOf(outcome),
    };
    time.with(about).record((performance.now() - begun) / 1_000);
    return outcome;
  });
}

function measureSandbox({ sandbox }: RuntimePorts, meter: Meter): RuntimePorts["sandbox"] {
  if ("missing" in sandbox) return sandbox;
  const time = meter.createHistogram("stateplane.sandbox.duration", {
    ...seconds,
    description: "Runs of code in the sandbox.",
  });
  return withVerb(sandbox, "run", async (request, signal) => {
    const begun = performance.now();
    const outcome = await sandbox.run(request, signal);
    const about = { language: request.language, ...errorOf(outcome) };
    time.with(about).record((performance.now() - begun) / 1_000);
    return outcome;
  });
}

const errorOf = (outcome: Outcome<unknown>): Labels =>
  outcome.ok ? {} : { "error.type": outcome.failure.kind };

/**
 * Every verb of a port that answers later, timed under its name. An object like the port, with each verb made once: to ask
 * a proxy for one takes as long as to count.
 */
function timed<Port extends object>(
  port: Port,
  time: Instrument<Histogram>,
  except: ReadonlySet<string> = new Set(),
): Port {
  const made: Record<string | symbol, unknown> = {};
  for (const verb of namesOf(port)) {
    const value: unknown = Reflect.get(port, verb);
    if (typeof value !== "function") {
      const get = () => Reflect.get(port, verb) as unknown;
      Object.defineProperty(made, verb, { get, enumerable: true, configurable: true });
      continue;
    }
    const call = value.bind(port) as Call;
    const isTimed = typeof verb === "string" && !except.has(verb);
    const timeOf = foundBy(time, (error) => labelsOf(String(verb), error));
    made[verb] = isTimed ? timedCall(call, timeOf) : call;
  }
  return made as Port;
}

/** Its own and those of its class. */
function namesOf(port: object): Set<string | symbol> {
  const names = new Set<string | symbol>();
  for (let at: object | null = port; at !== null && at !== Object.prototype;) {
    for (const name of Reflect.ownKeys(at)) if (name !== "constructor") names.add(name);
    at = Reflect.getPrototypeOf(at);
  }
  return names;
}

const labelsOf = (operation: string, error: string): Labels =>
  error === "" ? { operation } : { operation, "error.type": error };

type Call = (...given: unknown[]) => unknown;

/** @param timeOf by the kind of failure, of which "" is none */
function timedCall(call: Call, timeOf: (error: string) => Histogram): Call {
  let well: Histogram | null = null;
  return (...given) => {
    const begun = performance.now();
    const answer = call(...given);
    if (!(answer instanceof Promise)) return answer;
    const spent = () => (performance.now() - begun) / 1_000;
    answer.then(
      (outcome: unknown) => {
        // Nearly always, and looked up once.
        if (isFailure(outcome)) timeOf(outcome.failure.kind).record(spent());
        else (well ??= timeOf("")).record(spent());
      },
      () => timeOf("thrown").record(spent()),
    );
    return answer;
  };
}

const isFailure = (answer: unknown): answer is Outcome<never> & { ok: false } =>
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
