import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { Sandbox } from "../../machines/contracts/ports/sandbox.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Link } from "./link.ts";
import type { StepPlan } from "./plan.ts";
import type { ActiveFaults } from "./faults.ts";
import type { EffectCall, Witness } from "./witness.ts";

export interface Surroundings {
  link: Link;
  faults: ActiveFaults;
  witness: Witness;
  steps: ReadonlyMap<string, StepPlan>;
  /** Calls so far by step and effect, over all workers. */
  calls: Map<string, number>;
  /** The tools as they are now, the same for all workers. */
  tools: Toolbox;
  /** False once faults have stopped: then every call is answered. */
  isFaulty: () => boolean;
}

/** Where the tools are, and which arguments they take: both change when a person changes a server. */
export interface Toolbox {
  server: string;
  schema: number;
}

export const firstToolbox: Toolbox = { server: "io.bank", schema: 1 };
export const toolNames = ["pay", "put", "look", "vault.look"] as const;

/** Does one effect as the plan says, and writes it down at the moment it was asked for. */
function act<T>(
  { link, faults, witness, steps, calls, isFaulty, tools }: Surroundings,
  call: {
    stepId: string;
    name: string;
    key: string | null;
    isUnsafe: boolean;
    signal: AbortSignal;
  },
  make: (token: string) => T,
): Promise<Outcome<T>> {
  const { stepId, name, key, isUnsafe, signal } = call;
  const step = steps.get(stepId);
  const nth = calls.get(`${stepId} ${name}`) ?? 0;
  calls.set(`${stepId} ${name}`, nth + 1);
  const planned = isFaulty() ? step?.calls[nth] : undefined;
  const { how, takesMs } = planned ?? { how: "ok" as const, takesMs: 20 };
  if (how !== "ok") faults.count(`${name === "model" ? "model" : "tool"}-${how}`);
  if (takesMs >= 1_000) faults.count("slow-call");
  const token = `${name}-${nth + 1}-of-${stepId}`;
  const made: EffectCall = {
    stepId,
    kind: step?.kind ?? "nameless",
    name,
    by: link.name,
    at: link.world.elapsed,
    isUnsafe,
    mayHaveRun: how !== "unavailable",
    how,
    token,
    answeredAt: null,
    askedAt: link.askedAt,
    isStale: witness.isStale(stepId, link.name, link.askedAt),
    key,
    tools: { ...tools },
  };
  witness.effects.push(made);
  const { promise, resolve } = Promise.withResolvers<Outcome<T>>();
  let isAborted = false;
  link.world.schedule(takesMs, () => {
    if (!isAborted && link.gate.isOpen) made.answeredAt = link.world.elapsed;
    resolve(come(how, isUnsafe, make(token)));
  });
  signal.addEventListener("abort", () => {
    isAborted = true;
    resolve(fail(terminal("cancelled", "given up")));
  });
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

/** A text of the length that the step's results have, which begins with what tells it from every other. */
function textOf({ steps }: Surroundings, stepId: string, token: string): string {
  return token.padEnd(steps.get(stepId)?.length ?? 0, ".");
}

export function simulatedTools(around: Surroundings): ToolHost {
  const { tools } = around;
  const find = (name: string) =>
    toolNames.find((tool) => name === tool || name === `${tools.server}/${tool}`);
  const describe = (name: string): ToolDescription => ({
    name,
    address: name,
    server: tools.server,
    digest: `${name} ${tools.schema}`,
    description: "",
    inputSchema: { type: "object", $comment: `version ${tools.schema}` },
    outputSchema: null,
    readOnly: name.endsWith("look"),
    safeToRepeat: name !== "pay",
  });
  const unknown = (name: string) => fail(terminal("not_found", `no server has ${name}`));
  return {
    list: async () => ok(toolNames.map(describe)),
    async describe(name) {
      const found = find(name);
      return found === undefined ? unknown(name) : ok(describe(found));
    },
    async call(target, input, signal) {
      const { name, server } = target;
      if (find(name) === undefined || server !== tools.server) return unknown(`${server}/${name}`);
      if (target.digest !== describe(name).digest) {
        return fail(terminal("policy_denied", `${name} has another schema by now`));
      }
      const stepId = String(input["ref"]);
      const call = { stepId, name, key: null, isUnsafe: name === "pay", signal };
      return act(around, call, (token) => ({ server, content: textOf(around, stepId, token) }));
    },
    close: async () => {},
  };
}

export function simulatedModels(around: Surroundings): ModelProvider {
  return {
    async complete({ model, messages, idempotencyKey: key }, signal) {
      const stepId = key.split("/")[1] ?? "";
      const isFirst = messages.every(({ role }) => role !== "assistant");
      const isCalling = isFirst && around.steps.get(stepId)?.kind === "loop";
      const usage = { inputTokens: 10, outputTokens: 10 };
      const call = { stepId, name: "model", key, isUnsafe: false, signal };
      return act(around, call, (token) => ({
        provider: "simulated",
        model,
        content: textOf(around, stepId, token),
        toolCalls: isCalling ? [{ id: "call_1", name: "pay", arguments: { ref: stepId } }] : [],
        usage,
        finishReason: isCalling ? ("tool_calls" as const) : ("stop" as const),
      }));
    },
  };
}

export function simulatedSandbox(around: Surroundings): Sandbox {
  return {
    driver: "simulated",
    async run({ code: stepId }, signal) {
      const run = { exitCode: 0, timedOut: false, stderr: "", truncated: false, durationMs: 1 };
      const call = { stepId, name: "sandbox", key: null, isUnsafe: false, signal };
      return act(around, call, (stdout) => ({ ...run, stdout }));
    },
  };
}

export function simulatedRetriever(around: Surroundings): Retriever {
  return {
    async retrieve({ query: stepId }, signal) {
      const call = { stepId, name: "retrieve", key: null, isUnsafe: false, signal };
      return act(around, call, () => ({ documents: [], totalFound: 0 }));
    },
  };
}
