import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type {
  ModelMessage,
  ModelProvider,
  ModelTool,
  ToolCall,
} from "../../machines/contracts/ports/model-provider.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { Sandbox } from "../../machines/contracts/ports/sandbox.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Link } from "./link.ts";
import { agentCalls, type StepPlan } from "./plan.ts";
import type { ActiveFaults } from "./faults.ts";
import { changeTools } from "./happen.ts";
import type { EffectCall, Witness } from "./witness.ts";
import type { World } from "./world.ts";

export interface Surroundings {
  link: Link;
  slot: number;
  world: World;
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

/** How long no tool can be reached after an agent's turn was cut. */
const awayMs = 4_000;

/** How the tools of a time are told to a model, and so by its calls. */
export const offerOf = ({ server, schema }: Toolbox) => `of ${server} version ${schema}`;

/** Does one effect as the plan says, and writes it down at the moment it was asked for. */
function act<T>(
  around: Surroundings,
  call: {
    stepId: string;
    name: string;
    call?: string | null;
    offered?: string | null;
    key: string | null;
    isUnsafe: boolean;
    signal: AbortSignal;
  },
  make: (token: string) => T,
): Promise<Outcome<T>> {
  const { link, faults, witness, steps, calls, isFaulty, tools } = around;
  const { stepId, name, key, isUnsafe, signal, call: part = null, offered = null } = call;
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
    call: part,
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
    offered,
  };
  witness.effects.push(made);
  const cut = made.mayHaveRun ? faults.cutsTurn(stepId, part, around.slot) : undefined;
  if (cut?.tools === "away") {
    faults.areToolsAway = true;
    link.world.schedule(awayMs, () => (faults.areToolsAway = false));
  } else if (cut != null && cut.tools !== null) changeTools(around, cut.tools);
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
  const { tools, faults } = around;
  const away = () => fail(retryable("unavailable", "no server with tools can be reached"));
  const find = (name: string) =>
    toolNames.find((tool) => name === tool || name === `${tools.server}/${tool}`);
  const describe = (name: string): ToolDescription => ({
    name,
    address: name,
    server: tools.server,
    digest: `${name} ${tools.schema}`,
    description: `of ${tools.server}`,
    inputSchema: { type: "object", $comment: `version ${tools.schema}` },
    outputSchema: null,
    readOnly: name.endsWith("look"),
    safeToRepeat: name !== "pay",
  });
  const unknown = (name: string) => fail(terminal("not_found", `no server has ${name}`));
  return {
    list: async () => ok(faults.areToolsAway ? [] : toolNames.map(describe)),
    async describe(name) {
      if (faults.areToolsAway) return away();
      const found = find(name);
      return found === undefined ? unknown(name) : ok(describe(found));
    },
    async call(target, input, signal) {
      if (faults.areToolsAway) return away();
      const { name, server } = target;
      if (find(name) === undefined || server !== tools.server) return unknown(`${server}/${name}`);
      if (target.digest !== describe(name).digest) {
        return fail(terminal("policy_denied", `${name} has another schema by now`));
      }
      const { ref: stepId, ...more } = input as { ref: string; call?: string; offered?: string };
      const call = { ...more, stepId, name, key: null, isUnsafe: name === "pay", signal };
      return act(around, call, (token) => ({ server, content: textOf(around, stepId, token) }));
    },
    close: async () => {},
  };
}

/** An agent's calls in its next turn: each says in its arguments which it is, and what its model was offered. */
function callsOf(
  kind: StepPlan["kind"] | undefined,
  messages: readonly ModelMessage[],
  tools: readonly ModelTool[] | undefined,
  stepId: string,
): ToolCall[] {
  const turn = messages.filter(({ role }) => role === "assistant").length + 1;
  const pay = tools?.find(({ name }) => name === "pay");
  if (pay === undefined) return [];
  const offered = `${pay.description} ${String(pay.inputSchema["$comment"])}`;
  const made = agentCalls.filter(
    (call) =>
      call.startsWith(`${turn}.`) && (kind === "pair" || (kind === "loop" && call === "1.1")),
  );
  return made.map((call) => ({
    id: call,
    name: "pay",
    arguments: { ref: stepId, call, cents: turn, offered },
  }));
}

export function simulatedModels(around: Surroundings): ModelProvider {
  return {
    async complete({ model, messages, tools, idempotencyKey: key }, signal) {
      const stepId = key.split("/")[1] ?? "";
      for (const message of messages) {
        if (message.role !== "tool") continue;
        const content = message.content.slice(0, 3_000);
        around.witness.told.push({
          stepId,
          call: message.toolCallId,
          at: around.link.world.elapsed,
          content,
        });
      }
      const toolCalls = callsOf(around.steps.get(stepId)?.kind, messages, tools, stepId);
      const usage = { inputTokens: 10, outputTokens: 10 };
      const call = { stepId, name: "model", key, isUnsafe: false, signal };
      return act(around, call, (token) => ({
        provider: "simulated",
        model,
        content: textOf(around, stepId, token),
        toolCalls,
        usage,
        finishReason: toolCalls.length > 0 ? ("tool_calls" as const) : ("stop" as const),
      }));
    },
  };
}

export function simulatedSandbox(around: Surroundings): Sandbox {
  return {
    driver: "simulated",
    async run({ code: stepId }, signal) {
      const ended = { exitCode: 0, timedOut: false, killed: false };
      const run = { ...ended, stderr: "", truncated: false, leftOutBytes: 0, durationMs: 1 };
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
