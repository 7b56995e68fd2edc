import type { StepHandler } from "../../actors/handlers/handler.ts";
import { terminal, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
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
  "put-asked": "safe",
  "post-asked": "unsafe",
} as const satisfies Record<string, Touch["repeat"]>;

type ToolName = keyof typeof tools;
const isTool = (name: string): name is ToolName => Object.hasOwn(tools, name);

/** What the agent of a test may use, in the control plane's words and in the worker's. */
export const allowed = ["look", "put", "post"];
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

/** The three effects of an `llm` step here, as an agent loop has them: two safe ones around an unsafe one. */
export const loopEffects = [
  { name: "think", repeat: "safe" },
  { name: "act", repeat: "unsafe" },
  { name: "sum-up", repeat: "safe" },
] as const;

export function loopHandler(touch: TouchWorld): StepHandler {
  return async ({ job, effect }) => {
    const order = String(job.input["task"]);
    const done: JsonObject = {};
    for (const { name, repeat } of loopEffects) {
      const made = await effect({
        name,
        input: { order },
        repeat,
        async run(signal, idempotencyKey) {
          await touch({ order, effect: name, repeat, idempotencyKey }, signal);
          return { ok: true, value: true };
        },
      });
      if (!made.ok) return made.result;
      done[name] = made.value;
    }
    return { kind: "done", output: { order, ...done } };
  };
}
