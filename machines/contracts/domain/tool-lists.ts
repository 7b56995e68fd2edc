import { type } from "arktype";
import { matchesGlob } from "./glob.ts";
import type { Json, JsonObject } from "./json.ts";
import { once } from "./once.ts";
import { type Match, matchesSpelled } from "./spellings.ts";

/**
 * A tool as it is judged and called: the server that has it and its bare name there. A name in a job is resolved
 * to this pair first; `server` is null only where no configured server has a tool by that name.
 */
export interface ToolPair {
  server: string | null;
  name: string;
}

/** A call of a tool as lists judge it; `input` is null for "some call of it", before there is one. */
export interface ToolCallPair extends ToolPair {
  input: JsonObject | null;
}

const argumentPattern = once(() => {
  const scalar = type("string | number | boolean");
  return scalar.or(scalar.array());
});
export type ArgumentPattern = ReturnType<typeof argumentPattern>["infer"];

/** How an entry is written, without the message for one that is not. */
export const ruleShape = once(() =>
  type("string > 0").or({
    "+": "reject",
    tool: "string > 0",
    "when?": { "[string]": argumentPattern() },
  }),
);

/**
 * An entry of a list: `tool`, or `server/tool`; in both `*` stands for any characters and `?` for one. With `when`, the
 * entry speaks only of calls whose arguments are as said: each a value or a list of them, texts with the same
 * wildcards.
 */
export type ToolRule = ReturnType<typeof ruleShape>["infer"];

export const toolRuleShape = type("unknown").pipe((given, ctx): ToolRule => {
  const read = ruleShape()(given);
  if (!(read instanceof type.errors)) return read;
  const expected =
    'a tool\'s name, or {"tool": NAME, "when": {ARGUMENT: TEXT, NUMBER, true, false or a list of them}}';
  return ctx.error(expected) as never;
});

/** The tool that an entry names, without its conditions. */
export const ruleTool = (rule: ToolRule): string => (typeof rule === "string" ? rule : rule.tool);

/** Whether an entry speaks of every call of its tool. */
export const isUnconditional = (rule: ToolRule): boolean =>
  typeof rule === "string" || Object.keys(rule.when ?? {}).length === 0;

/**
 * Whether an entry of a list that lets calls through covers this one. What can't be told (an argument that is not
 * there, say) is not covered. The worker and the embedded control plane both judge by this one function.
 */
export function isListed(list: readonly ToolRule[], call: ToolCallPair): boolean {
  return list.some(
    (rule) =>
      namesTool(ruleTool(rule), call) &&
      !isOfAnother(ruleTool(rule), call) &&
      (call.input === null || fits(rule, call.input) === "yes"),
  );
}

/**
 * Whether an entry of a list that holds calls back, denied or asked about, covers this one. What can't be told is
 * covered.
 */
export function isHeldBack(list: readonly ToolRule[], call: ToolCallPair): boolean {
  return list.some(
    (rule) =>
      namesTool(ruleTool(rule), call) &&
      (call.input === null ? isUnconditional(rule) : fits(rule, call.input) !== "no"),
  );
}

/**
 * Whether an entry names the tool. Exactly, letter by letter, as `tool` or as `server/tool`: nothing is cut at a slash
 * or a dot, since MCP allows both in the names of tools. A wildcard never reaches over the slash between server and
 * tool: `read*` is no tool of a server `readers`, and `git/*` no tool `git/push` of another server.
 */
export function namesTool(entry: string, { server, name }: ToolPair): boolean {
  if (entry === name || (server !== null && entry === `${server}/${name}`)) return true;
  if (!/[*?]/u.test(entry)) return false;
  if (!entry.includes("/")) return matchesGlob(entry, name);
  return splits(entry).some(
    ([left, right]) => server !== null && matchesGlob(left, server) && matchesGlob(right, name),
  );
}

/**
 * Whether an entry most likely means another server's tool: `github/create_issue` lets through no tool of a server
 * `evil` that is itself named so, whether a server `github` is there or not. Its own name is `evil/github/create_issue`.
 */
const isOfAnother = (entry: string, { server, name }: ToolPair): boolean =>
  server !== null && entry === name && entry.includes("/");

/** Every way to read a text as `left/right`. */
export function splits(text: string): [string, string][] {
  return [...text.matchAll(/\//gu)].map(({ index }) => [
    text.slice(0, index),
    text.slice(index + 1),
  ]);
}

/**
 * Whether some pair that `spelled` could be resolved to is named by `entry`. False is certain whatever servers
 * there are, so that a call which no list can let through is refused without asking any of them.
 */
export function couldMean(entry: string, spelled: string): boolean {
  const tails = (text: string) => [text, ...splits(text).map(([, right]) => right)];
  return tails(entry).some((pattern) => tails(spelled).some((name) => matchesGlob(pattern, name)));
}

/** The tool in the words of a message: `server/tool` once it is resolved. */
export const toolLabel = ({ server, name }: ToolPair): string =>
  server === null ? name : `${server}/${name}`;

/** Whether arguments are as an entry says; `unknown` where that can't be told. */
type Fit = Match;

function fits(rule: ToolRule, input: JsonObject): Fit {
  if (typeof rule === "string") return "yes";
  return every(
    Object.entries(rule.when ?? {}).map(([key, pattern]) =>
      fitsValue(pattern, Object.hasOwn(input, key) ? input[key] : undefined),
    ),
  );
}

const every = (fit: readonly Fit[]): Fit =>
  fit.includes("no") ? "no" : fit.includes("unknown") ? "unknown" : "yes";

const some = (fit: readonly Fit[]): Fit =>
  fit.includes("yes") ? "yes" : fit.includes("unknown") ? "unknown" : "no";

function fitsValue(pattern: ArgumentPattern, value: Json | undefined): Fit {
  if (!Array.isArray(value)) return fitsOne(pattern, value);
  const fit = value.map((item) => fitsOne(pattern, item));
  // Some as said and some not: neither list may take that for granted. Of none at all, nothing is known.
  return fit.length > 0 && fit.every((one) => one === fit[0]) ? (fit[0] ?? "unknown") : "unknown";
}

function fitsOne(pattern: ArgumentPattern, value: Json | undefined): Fit {
  if (Array.isArray(pattern)) return some(pattern.map((one) => fitsOne(one, value)));
  if (value === pattern) return "yes";
  if (typeof value !== typeof pattern) return "unknown";
  if (typeof pattern !== "string" || typeof value !== "string") return "no";
  return matchesSpelled(pattern, value);
}
