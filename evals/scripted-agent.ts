import { setTimeout as sleep } from "node:timers/promises";
import { ok } from "../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../machines/contracts/domain/json.ts";
import type { ModelProvider, ModelRequest } from "../machines/contracts/ports/model-provider.ts";

/** A turn of an agent: calls of tools, or the answer that ends its work. */
export type ScriptedTurn =
  | { calls: { name: string; arguments: JsonObject }[] }
  | { answer: string };

export interface Script {
  /** Which turns it says to what it was asked; `{{repo}}` in them is the folder that the task names. */
  turnsFor: (asked: string) => readonly ScriptedTurn[];
  /** How long each answer takes, in milliseconds. */
  delayMs?: number;
}

const turnCost = { inputTokens: 200, outputTokens: 50, costMicros: 150 };

/**
 * A model for suites that need no key: it says the next of its turns, whatever came of the ones before. It is as blind as
 * that, so what a trial shows is the work of policy, tools and sandbox, and of the script alone.
 */
export function scriptedAgent({ turnsFor, delayMs = 0 }: Script): ModelProvider {
  return {
    async complete(request, signal) {
      if (delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => {});
      const asked = textOf(request);
      const [, repo = ""] = /\brepository ([\w.-]*[\w-])/u.exec(asked) ?? [];
      const said = request.messages.filter(({ role }) => role === "assistant").length;
      const turn = turnsFor(asked)[said] ?? { answer: "There is nothing more to do." };
      const placed = JSON.parse(JSON.stringify(turn).replaceAll("{{repo}}", repo)) as ScriptedTurn;
      const calls = "calls" in placed ? placed.calls : [];
      return ok({
        provider: "scripted",
        model: request.model,
        content: "answer" in placed ? placed.answer : "",
        toolCalls: calls.map((call, at) => ({ id: `call_${said}_${at}`, ...call })),
        finishReason: calls.length > 0 ? "tool_calls" : "stop",
        usage: turnCost,
        scripted: true,
      });
    },
  };
}

const textOf = ({ messages }: ModelRequest): string =>
  messages.find(({ role }) => role === "user")?.content ?? "";
