import { type } from "arktype";
import { notList } from "../json.ts";
import { once } from "../once.ts";
import { isListed, type ToolCallPair, toolRuleShape } from "../tool-lists.ts";

/** `shadow`: what is found is recorded, and changes nothing. `enforce`: it is refused, or asked about. */
export const airlockModes = ["off", "shadow", "enforce"] as const;
export type AirlockMode = (typeof airlockModes)[number];

const common = once(
  () =>
    ({
      "+": "reject",
      /** In place of the mode of the whole; nothing is inspected where that is `off`. */
      "mode?": type.enumerated(...airlockModes),
      /** Tools that the rule does not look at, written as in the lists. */
      "except?": toolRuleShape.array(),
    }) as const,
);
const hour = 3_600_000;

/** What each rule of the Airlock may be told; every key may be left out. */
export const airlockRulesShape = once(() =>
  type({
    "+": "reject",
    /** Shell commands and code that do what no agent's task asks for. */
    "commands?": type(common()).narrow(notList),
    /** Calls of one run, and their cost, within a window of time. */
    "velocity?": type({
      ...common(),
      "windowMs?": type(`1 <= number.integer <= ${hour}`),
      "maxCalls?": "1 <= number.integer <= 1000",
      "maxCostCents?": "1 <= number.integer <= 1000000",
    }).narrow(notList),
    /** The same call, `threshold` times among the last `among` of its run. */
    "loop?": type({
      ...common(),
      "threshold?": "2 <= number.integer <= 100",
      "among?": "2 <= number.integer <= 100",
    }).narrow(notList),
    /** Where data may go: hosts, with `*` for any characters. Without a list every host with a name may be called. */
    "exfiltration?": type({
      ...common(),
      "allowedHosts?": type("0 < string <= 255").array().atMostLength(1_000),
      "blockAddresses?": "boolean",
    }).narrow(notList),
    /** Arguments against the schema with which the tool is registered. */
    "schema?": type(common()).narrow(notList),
    /** Keys, tokens and numbers of cards and accounts in arguments. */
    "credentials?": type(common()).narrow(notList),
    /** Arguments that were copied out of what tools brought: a person is asked. */
    "provenance?": type(common()).narrow(notList),
  }).narrow(notList),
);
export type AirlockRules = ReturnType<typeof airlockRulesShape>["infer"];
export type AirlockRule = keyof AirlockRules;

export interface AirlockSettings {
  mode: AirlockMode;
  rules: AirlockRules;
}

export const airlockOff: AirlockSettings = { mode: "off", rules: {} };

/** What a rule does about a call; `off` for a tool that it excepts. */
export function modeOf(
  { mode, rules }: AirlockSettings,
  rule: AirlockRule,
  tool: ToolCallPair,
): AirlockMode {
  if (mode === "off") return "off";
  const { mode: own = mode, except = [] } = rules[rule] ?? {};
  return isListed(except, tool) ? "off" : own;
}
