import type { CallResult, CallTarget } from "../../machines/agent-loop/context.ts";
import type { Action, Ask, Grant } from "../../machines/contracts/domain/action.ts";
import {
  type Failure,
  ok,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolCall } from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimePorts } from "../ports.ts";
import { digestOf } from "../step/approvals.ts";
import type { Recalled } from "../step/journal.ts";
import type { OfferedTools } from "./agent-tools.ts";
import type { Effect, HandlerResult, Permission, StepHandler, StepScope } from "./handler.ts";

/*
 * A model's call of a tool for which the user has a handler. The handler is called as in a tool step: with a job that is
 * the call, under the same permissions and the same journal. What differs is told apart by the call's key:
 *
 *   permission   asked with the call's key, so that two calls alike are two questions; the yes to the model's own call
 *                is the handler's, which is not judged twice
 *   effect       journalled under `<the call's key>/…`
 *   the result   journalled under the call's key, once the handler has returned: then it is not called again
 */

export type CallEnd =
  | { kind: "result"; result: CallResult }
  | { kind: "asked"; asks: Ask[] }
  | { kind: "waits" }
  | { kind: "failed"; failure: Failure };

export interface CallsScope extends Pick<
  StepScope,
  | "job"
  | "signal"
  | "permission"
  | "recall"
  | "edited"
  | "effect"
  | "budget"
  | "isLastAttempt"
  | "log"
  | "screening"
> {
  ports: Pick<RuntimePorts, "tools" | "schemas" | "artifacts" | "clock">;
  /** The tools as they are now; asked for only where a call is new. */
  offer(): Promise<Outcome<OfferedTools>>;
  handlerOf: HandlerOf;
}

/** The user's own work for a tool that a model calls by this name; null where it is the tool's. */
export type HandlerOf = (called: string, tool: CallTarget) => StepHandler | null;

/** One call, and what is known of it in every session. */
export interface KeyedCall {
  call: ToolCall;
  key: string;
  tool: CallTarget | null;
  /** The user's own work in place of the tool's; null where there is none. */
  handler: StepHandler | null;
  known: Recalled;
}

export type KeyedScope = CallsScope & { offered: OfferedTools | null };

/** Whether a call may have been made, and must not be made again unasked. */
export const isInDoubt = ({ tool, known }: KeyedCall): boolean =>
  known === "in-doubt" || (known === "begun" && tool?.isSafe === false);

/** The call as policy and people see it. */
export function actionOf({ call, key, tool }: Pick<KeyedCall, "call" | "key" | "tool">): Action {
  const input = call.arguments ?? {};
  if (tool === null) return { kind: "tool", name: call.name, call: key, input };
  const { name, server, digest: schema } = tool;
  return { kind: "tool", name, server, schema, call: key, input };
}

export type Allowed = Extract<Permission, { allowed: true }>;

/**
 * Has the user's handler do a call.
 *
 * @param permitted null for one in doubt: its permission is the handler's to ask for
 */
export async function runHandler(
  scope: KeyedScope,
  each: KeyedCall,
  permitted: Allowed | null,
): Promise<{ result: HandlerResult; action: Action; grant: Grant | null; reason: string }> {
  const { handler, key } = each;
  if (handler === null) throw new Error("a call without a handler was handed to one");
  const own = actionOf(each);
  let by = permitted;
  const occurrences = new Map<string, number>();
  const shown: StepScope = {
    ...scope,
    job: { ...scope.job, stepType: "tool", input: asStep(own) },
    repairNote: null,
    repairAnswer: null,
    repairs: 0,
    // The call was counted before it was judged.
    budget: { ...budgetOf(scope), toolCall: async () => ok(null) },
    permission: async (asked) => {
      const isOwn = isSame(asked, own);
      if (isOwn && asked.schema !== undefined && asked.schema !== own.schema) return changed(asked);
      if (isOwn && permitted !== null) return permitted;
      const said = await scope.permission(isOwn ? own : { ...asked, call: key });
      if (isOwn && said.allowed) by = said;
      return said;
    },
    brought: () => undefined,
    recall: (inner) => scope.recall(`${key}/${inner}`),
    effect: <T extends Json>(effect: Effect<T>) => {
      const inner = effect.key ?? numbered(occurrences, effect);
      const action = effect.action ?? by?.action ?? own;
      return scope.effect<T>({
        ...effect,
        key: `${key}/${inner}`,
        action: action.call === undefined ? { ...action, call: key } : action,
      });
    },
  };
  const result = await handler(shown);
  const reason = by?.verdict.reason ?? "the handler asked for no permission";
  return { result, action: by?.action ?? own, grant: by?.grant ?? null, reason };
}

/** The call as a tool step's input. */
const asStep = ({ name, server, input }: Action): JsonObject => ({
  tool_name: server === undefined ? name : `${server}/${name}`,
  tool_input: input,
});

const budgetOf = ({
  budget,
}: Pick<StepScope, "budget">): Omit<StepScope["budget"], "toolCall"> => ({
  spend: (...args) => budget.spend(...args),
  settle: (...args) => budget.settle(...args),
  owes: (settlement) => budget.owes(settlement),
  used: (reply) => budget.used(reply),
  holds: (...args) => budget.holds(...args),
});

/** Whether a handler asks for what the model asked for, in any spelling of the tool. */
function isSame(asked: Action, own: Action): boolean {
  const names = [own.name, ...(own.server === undefined ? [] : [`${own.server}/${own.name}`])];
  const isServer = asked.server === undefined || asked.server === own.server;
  const isTool = asked.kind === "tool" && isServer && names.includes(asked.name);
  return isTool && digestOf(asked.input) === digestOf(own.input);
}

/** The model was offered another tool than the one that has this name by now: what it meant can't be called. */
const changed = (action: Action): Permission => {
  const message = `tool "${action.name}" has changed since the model was offered it: nothing was sent`;
  const result: HandlerResult = { kind: "failed", failure: terminal("policy_denied", message) };
  return { allowed: false, result, action, verdict: null };
};

/** Named by what it does within its call, and counted among those that do the same. */
function numbered(occurrences: Map<string, number>, { name, input }: Effect<Json>): string {
  const what = `${name}#${digestOf(input).slice(0, 16)}`;
  const occurrence = (occurrences.get(what) ?? 0) + 1;
  occurrences.set(what, occurrence);
  return `${what}#${occurrence}`;
}

/** What the model is shown of an output: of the built-in work's, which says where it comes from, its result alone. */
export function resultOf(output: Json, { name, server }: Action): Json {
  const isBuiltIn =
    isJsonObject(output) &&
    output["server"] === server &&
    [name, `${server}/${name}`].includes(String(output["tool"]));
  return isBuiltIn ? (output["result"] ?? null) : output;
}
