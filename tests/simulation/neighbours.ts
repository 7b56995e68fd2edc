import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { Sandbox } from "../../machines/contracts/ports/sandbox.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Link } from "./link.ts";
import type { StepPlan } from "./plan.ts";
import type { Weather } from "./weather.ts";
import type { Witness } from "./witness.ts";

export interface Surroundings {
  link: Link;
  weather: Weather;
  witness: Witness;
  steps: ReadonlyMap<string, StepPlan>;
  /** Calls so far by step and effect, over all workers. */
  calls: Map<string, number>;
  /** False once faults have stopped: then every call is answered. */
  isFaulty: () => boolean;
}

const toolNames = ["pay", "put", "look"] as const;

/** Does one effect as the plan says, and writes it down at the moment it was asked for. */
function act<T>(
  { link, weather, witness, steps, calls, isFaulty }: Surroundings,
  call: {
    stepId: string;
    name: string;
    key: string | null;
    isUnsafe: boolean;
    signal: AbortSignal;
  },
  value: T,
): Promise<Outcome<T>> {
  const { stepId, name, key, isUnsafe, signal } = call;
  const step = steps.get(stepId);
  const nth = calls.get(`${stepId} ${name}`) ?? 0;
  calls.set(`${stepId} ${name}`, nth + 1);
  const planned = isFaulty() ? step?.calls[nth] : undefined;
  const { how, takesMs } = planned ?? { how: "ok" as const, takesMs: 20 };
  if (how !== "ok") weather.count(`${name === "model" ? "model" : "tool"}-${how}`);
  if (takesMs >= 1_000) weather.count("slow-call");
  witness.effects.push({
    stepId,
    kind: step?.kind ?? "nameless",
    name,
    by: link.name,
    at: link.world.elapsed,
    isUnsafe,
    mayHaveRun: how !== "unavailable",
    askedAt: link.askedAt,
    isStale: witness.isStale(stepId, link.name, link.askedAt),
    key,
  });
  const { promise, resolve } = Promise.withResolvers<Outcome<T>>();
  link.world.schedule(takesMs, () => resolve(come(how, isUnsafe, value)));
  signal.addEventListener("abort", () => resolve(fail(terminal("cancelled", "given up"))));
  return promise;
}

function come<T>(how: StepPlan["calls"][number]["how"], isUnsafe: boolean, value: T): Outcome<T> {
  switch (how) {
    case "ok":
      return ok(value);
    case "unavailable":
      return fail(retryable("unavailable", "not sent: nobody listens"));
    case "failed":
      return fail(terminal("tool_failed", "done, and badly"));
    case "in-doubt":
      return isUnsafe
        ? fail(terminal("in_doubt", "sent, and no answer came"))
        : fail(retryable("unavailable", "no answer came"));
  }
}

export function simulatedTools(around: Surroundings): ToolHost {
  const describe = (name: string) => ({
    name,
    server: "simulated",
    address: name,
    digest: `of ${name}`,
    description: "",
    inputSchema: {},
    outputSchema: null,
    readOnly: name === "look",
    safeToRepeat: name !== "pay",
  });
  return {
    list: async () => ok(toolNames.map(describe)),
    describe: async (name) => ok(describe(name)),
    async call({ name }, input, signal) {
      const call = { stepId: String(input["ref"]), name, key: null, isUnsafe: name === "pay" };
      return act(around, { ...call, signal }, { server: "simulated", content: { done: name } });
    },
    close: async () => {},
  };
}

export function simulatedModels(around: Surroundings): ModelProvider {
  return {
    async complete({ model, idempotencyKey: key }, signal) {
      const stepId = key.split("/")[1] ?? "";
      const usage = { inputTokens: 10, outputTokens: 10 };
      const reply = { provider: "simulated", model, content: "yes", toolCalls: [], usage };
      const call = { stepId, name: "model", key, isUnsafe: false, signal };
      return act(around, call, { ...reply, finishReason: "stop" as const });
    },
  };
}

export function simulatedSandbox(around: Surroundings): Sandbox {
  return {
    driver: "simulated",
    async run({ code: stepId }, signal) {
      const run = { exitCode: 0, timedOut: false, stdout: "", stderr: "", truncated: false };
      const call = { stepId, name: "sandbox", key: null, isUnsafe: false, signal };
      return act(around, call, { ...run, durationMs: 1 });
    },
  };
}

export function simulatedRetriever(around: Surroundings): Retriever {
  return {
    async retrieve({ query: stepId }, signal) {
      const call = { stepId, name: "retrieve", key: null, isUnsafe: false, signal };
      return act(around, call, { documents: [], totalFound: 0 });
    },
  };
}

/** No result of a simulated step is large enough to need one. */
export const noArtifacts: ArtifactStore = {
  check: async () => ok(null),
  put: async () => fail(terminal("internal", "no artifacts here")),
  get: async () => fail(terminal("not_found", "no artifacts here")),
  list: async () => [],
  delete: async () => false,
};
