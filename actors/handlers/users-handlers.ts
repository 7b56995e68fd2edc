import { type } from "arktype";
import {
  type Action,
  actionShape,
  type Ask,
  askShape,
} from "../../machines/contracts/domain/action.ts";
import {
  fail,
  type Failure,
  failureShape,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { type StepType, stepTypes } from "../../machines/contracts/domain/job.ts";
import { usageShape } from "../../machines/contracts/domain/step-result.ts";
import { messageOf, nameOf, thrownBy, toJson } from "../../machines/contracts/domain/users-code.ts";
import type { RuntimePorts } from "../ports.ts";
import type {
  Effect,
  HandlerResult,
  StepHandler,
  StepScope,
  UsersHandler,
  UsersHandlers,
} from "./handler.ts";
import type { HandlerOf } from "./call-handler.ts";
import { toolAction } from "./tool.ts";

/*
 * A user's handlers, in place of ours. What enters from them is checked here:
 *
 *   it throws                          the step fails, and the message says whose it was and where
 *   it returns what is no result       the step fails, and the message says what was expected
 *   an effect that does not say `free` `unsafe`
 *   or `safe`
 *   an unsafe effect throws            `in_doubt`: nobody knows what it did
 *   an effect brings what is no        the step fails; the effect has happened, and is not done again
 *   outcome, or no JSON
 *
 * What our own code throws on its way through a handler (the lease is lost, the step is aborted) passes as it is.
 */

/**
 * The work of each step type with the user's before it: a tool's, then its step type's, then the built-in one. A tool's
 * does a model's call of it, too.
 *
 * @param builtIn the work of each step type; an llm step's is told whose work a call of a tool is
 */
export function withUsersHandlers(
  builtIn: Record<StepType, StepHandler>,
  users: UsersHandlers,
  ports: Pick<RuntimePorts, "tools">,
  llm: (handlerOf: HandlerOf) => StepHandler = () => builtIn.llm,
): Record<StepType, StepHandler> {
  const handlers = { ...builtIn };
  const byTool = new Map<string, UsersHandler>();
  for (const [key, own] of Object.entries(users)) {
    if (key.startsWith("tool:") && own !== undefined) byTool.set(key, own);
  }
  const { tool: own } = users;
  if (own !== undefined) handlers.tool = guarded("tool", own, builtIn.tool);
  const otherwise = handlers.tool;
  /** Of a tool's spellings the first that has one. */
  const take = (...names: string[]): StepHandler | null => {
    for (const key of names.map((name) => `tool:${name}`)) {
      const taken = byTool.get(key);
      if (taken !== undefined) return guarded(key, taken, otherwise);
    }
    return null;
  };
  if (byTool.size > 0) {
    handlers.llm = llm((called, { server, name }) => take(called, `${server}/${name}`, name));
    handlers.tool = async (scope) => {
      const { name } = toolAction(scope.job);
      const spelled = take(name);
      if (spelled !== null) return spelled(scope);
      const described = await ports.tools.describe(name, scope.signal);
      if (!described.ok) return otherwise(scope);
      const { server, name: bare } = described.value;
      return (take(`${server}/${bare}`, bare) ?? otherwise)(scope);
    };
  }
  for (const stepType of stepTypes) {
    const taken = stepType === "tool" ? undefined : users[stepType];
    if (taken !== undefined) handlers[stepType] = guarded(stepType, taken, handlers[stepType]);
  }
  return handlers;
}

function guarded(key: string, handler: UsersHandler, otherwise: StepHandler): StepHandler {
  const what = `the handler "${key}"`;
  return async (scope) => {
    /** Errors of our own that pass through the handler. */
    const passing = new WeakSet<object>();
    const ours = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        if (typeof error === "object" && error !== null) passing.add(error);
        throw error;
      }
    };
    const shown: StepScope = {
      ...scope,
      permission: (action) => ours(scope.permission(readAction(action))),
      effect: async <T extends Json>(given: Effect<T>) => {
        const { effect, thrown } = readEffect(given, what, scope);
        const done = scope.effect(effect);
        return ours(done).catch((error: unknown) => {
          if (error === thrown()) passing.delete(error as object);
          throw error;
        });
      },
    };
    try {
      const result: unknown = await handler(shown, () => ours(otherwise(scope)));
      return readResult(result, what);
    } catch (error) {
      const isPassing = typeof error === "object" && error !== null && passing.has(error);
      if (isPassing || scope.signal.aborted) throw error;
      scope.log.error({ err: error, handler: key }, "a handler of the configuration threw");
      return failed(thrownBy(what, error, process.cwd()));
    }
  };
}

const failed = (message: string): HandlerResult => ({
  kind: "failed",
  failure: terminal("handler_failed", message),
});

/** @throws TypeError, which is the handler's: it asked for what can't be judged */
function readAction(given: Action): Action {
  const json = toJson(given);
  if (!json.ok) throw new TypeError(`permission() was asked for an action that ${json.problem}`);
  const read = actionShape()(json.value);
  if (!(read instanceof type.errors)) return json.value as unknown as Action;
  throw new TypeError(`permission() was asked for what is no action: ${read.summary}`);
}

/**
 * @returns the effect with its answers checked, and what its function threw
 * @throws TypeError, which is the handler's
 */
function readEffect<T extends Json>(
  given: Effect<T>,
  what: string,
  { signal, log }: StepScope,
): { effect: Effect<T>; thrown: () => unknown } {
  if (!isJsonObject(given) || typeof given.name !== "string" || given.name === "") {
    throw new TypeError("effect() was given no name");
  }
  const { name, run } = given as Effect<T>;
  if (typeof run !== "function") throw new TypeError(`effect "${name}" has no function \`run\``);
  const input = toJson(given.input ?? null);
  if (!input.ok) throw new TypeError(`the input of effect "${name}" ${input.problem}`);
  const isKnown = given.repeat === "free" || given.repeat === "safe";
  const repeat = isKnown ? given.repeat : "unsafe";
  const named = `the effect "${name}" of ${what}`;
  let error: unknown = {};
  const effect: Effect<T> = {
    ...(given as Effect<T>),
    input: input.value,
    repeat,
    run: async (...args) => {
      let outcome: unknown;
      try {
        outcome = await run.apply(given, args);
      } catch (caught) {
        error = caught;
        if (repeat !== "unsafe" || signal.aborted) throw caught;
        log.error({ err: caught, effect: name }, "an unsafe effect threw");
        return fail(terminal("in_doubt", thrownBy(named, caught, process.cwd())));
      }
      return readOutcome(outcome, named) as Outcome<T>;
    },
  };
  return { effect, thrown: () => error };
}

function readOutcome(given: unknown, what: string): Outcome<Json> {
  const problem = (text: string) => fail(terminal("handler_failed", `${what} ${text}`));
  const expected = "expected { ok: true, value } or { ok: false, failure }";
  if (!isJsonObject(given)) return problem(`brought ${nameOf(given)}; ${expected}`);
  const { ok: isDone, value, failure } = given as Record<string, unknown>;
  if (isDone === true) {
    const json = toJson(value);
    return json.ok ? { ok: true, value: json.value } : problem(`brought what ${json.problem}`);
  }
  if (isDone !== false) return problem(`brought an object without \`ok\`; ${expected}`);
  const read = readFailure(failure);
  return typeof read === "string" ? problem(`brought ${read}`) : fail(read);
}

/** @returns what is wrong with it, a text, where it is no failure */
function readFailure(given: unknown): Failure | string {
  const json = toJson(given);
  if (!json.ok) return `a failure that ${json.problem}`;
  const read = failureShape()(json.value);
  if (read instanceof type.errors) return `what is no failure: ${read.summary}`;
  const { message, ...rest } = read;
  return { ...rest, message: messageOf(message) } as Failure;
}

function readResult(given: unknown, what: string): HandlerResult {
  const expected =
    "expected { kind: 'done', output }, { kind: 'failed', failure } or a permission's or effect's `result`";
  try {
    if (!isJsonObject(given)) return failed(`${what} returned ${nameOf(given)}; ${expected}`);
    const { kind, output, asks, failure, usage = null } = given as Record<string, unknown>;
    const used = usage === null ? null : usageShape()(usage);
    if (used instanceof type.errors) return failed(`${what} returned a usage: ${used.summary}`);
    const json: ReturnType<typeof toJson> | null = output === undefined ? null : toJson(output);
    if (json?.ok === false) return failed(`${what} returned an output that ${json.problem}`);
    switch (kind) {
      case "done":
        if (json === null) return failed(`${what} returned no output; return null for none`);
        return { kind, output: json.value, usage: used };
      case "failed": {
        const read = readFailure(failure);
        if (typeof read === "string") return failed(`${what} returned ${read}`);
        const rest = usage === null ? {} : { usage: used };
        return {
          kind,
          failure: read,
          ...(json === null ? {} : { output: json.value }),
          ...rest,
        };
      }
      case "asked": {
        const read = askShape().array().atLeastLength(1)(toJsonOrNull(asks));
        if (read instanceof type.errors)
          return failed(`${what} returned questions that are none: ${read.summary}`);
        return { kind, asks: read as unknown as Ask[] };
      }
      default:
        return failed(`${what} returned an object of another kind; ${expected}`);
    }
  } catch (error) {
    return failed(`${what} returned what can't be read: ${messageOf(error)}`);
  }
}

function toJsonOrNull(given: unknown): Json | JsonObject {
  const json = toJson(given);
  return json.ok ? json.value : null;
}
