import { terminal, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Touch } from "./ledger.ts";

export type Deed = Pick<Touch, "order" | "effect" | "repeat" | "idempotencyKey">;

/** Touches the world: one line in the ledger, then the time it takes to answer. */
export type TouchWorld = (deed: Deed, signal: AbortSignal) => Promise<void>;

/** The ledger's tools. Those in `asked` are the same deeds, for which policy wants a person's yes. */
export const tools = {
  look: "free",
  put: "safe",
  post: "unsafe",
  act: "unsafe",
  "put-asked": "safe",
  "post-asked": "unsafe",
} as const satisfies Record<string, Touch["repeat"]>;

type ToolName = keyof typeof tools;
const isTool = (name: string): name is ToolName => Object.hasOwn(tools, name);

/** What the agent of a test may use, in the control plane's words and in the worker's. */
export const allowed = ["look", "put", "post", "act"];
export const asked = ["put-asked", "post-asked"];

const describe = (name: ToolName): ToolDescription => ({
  name,
  server: "ledger",
  address: name,
  digest: `of ${name}`,
  description: `a ${tools[name]} deed`,
  inputSchema: { type: "object" },
  outputSchema: null,
  safeToRepeat: tools[name] !== "unsafe",
  readOnly: tools[name] === "free",
});

const unknown = (name: string): Outcome<never> => ({
  ok: false,
  failure: terminal("not_found", `the ledger has no tool "${name}"`),
});

/** Tools whose every call is a line in the ledger. */
export function ledgerTools(touch: TouchWorld): ToolHost {
  return {
    list: async () => ({ ok: true, value: Object.keys(tools).filter(isTool).map(describe) }),
    describe: async (name) => (isTool(name) ? { ok: true, value: describe(name) } : unknown(name)),
    async call({ name }, input, signal) {
      if (!isTool(name)) return unknown(name);
      const order = String(input["order"]);
      await touch({ order, effect: name, repeat: tools[name], idempotencyKey: null }, signal);
      return { ok: true, value: { server: "ledger", content: { done: order } } };
    },
    close: async () => {},
  };
}

/** A retrieval that costs nothing: free to repeat, journalled nowhere. */
export function ledgerRetriever(touch: TouchWorld): Retriever {
  return {
    async retrieve({ query }, signal) {
      const deed = { order: query, effect: "retrieve", repeat: "free", idempotencyKey: null };
      await touch(deed as Deed, signal);
      return { ok: true, value: { documents: [], totalFound: 0 } };
    },
  };
}

const agentMark = "agent:";
/** The task of an agent with three calls in two turns; any other task is worked on by one call. */
export const agentTask = (order: string): string => `${agentMark}${order}`;

/** What the ledger's model calls in each turn; after the last it answers. */
const plans = {
  loop: [["act"]],
  agent: [["put", "act"], ["post"]],
};

/**
 * A model that calls the ledger's tools for the order that stands in its task, and touches the world with each call of
 * its own: an agent's loop costs something at every turn.
 */
export function ledgerModel(touch: TouchWorld): ModelProvider {
  return {
    async complete({ messages, model, idempotencyKey }, signal) {
      const task = messages.find(({ role }) => role === "user")?.content ?? "";
      const isAgent = task.startsWith(agentMark);
      const order = isAgent ? task.slice(agentMark.length) : task;
      const turn = messages.filter(({ role }) => role === "assistant").length;
      const calls = plans[isAgent ? "agent" : "loop"][turn] ?? [];
      const effect = turn === 0 ? "think" : calls.length > 0 ? "think-on" : "sum-up";
      await touch({ order, effect, repeat: "safe", idempotencyKey }, signal);
      return {
        ok: true,
        value: {
          provider: "ledger",
          model,
          content: calls.length > 0 ? "" : `done ${order}`,
          toolCalls: calls.map((name, at) => ({
            id: `call_${turn}_${at}`,
            name,
            arguments: { order },
          })),
          finishReason: calls.length > 0 ? "tool_calls" : "stop",
          usage: { inputTokens: 1, outputTokens: 1 },
          scripted: true,
        },
      };
    },
  };
}
