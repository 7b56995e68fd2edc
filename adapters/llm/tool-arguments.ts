import { isJsonObject, type JsonObject } from "../../machines/contracts/json.ts";

/** Arguments that may be run, or none and the reason. */
export type ToolArguments = { arguments: JsonObject } | { arguments: null; problem: string };

/**
 * Reads the arguments of a tool call, given as text or already parsed. A call in a message that ended at the token
 * limit is never runnable, however whole it looks: one SDK closes the open braces by itself.
 */
export function readToolArguments(given: unknown, cutOff: boolean): ToolArguments {
  if (cutOff) return { arguments: null, problem: "cut off at the token limit" };
  const value = typeof given === "string" ? parse(given) : given;
  return isJsonObject(value)
    ? { arguments: value }
    : { arguments: null, problem: "the arguments are not a JSON object" };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
