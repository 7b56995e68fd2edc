import { type } from "arktype";
import type { JsonObject } from "../../machines/contracts/json.ts";

/** One planned call and the answer it gets. Without `expect` any call fits. */
export interface ScriptedTurn {
  expect?: {
    /** The model asked for, without `scripted/`. */
    model?: string;
    /** Text that must occur in one of the messages. */
    contains?: string;
  };
  reply: {
    content?: string;
    toolCalls?: { name: string; arguments: JsonObject }[];
    usage?: { inputTokens: number; outputTokens: number; costMicros?: number };
  };
}

export type ModelScript = readonly ScriptedTurn[];

const shape = type({
  "expect?": { "model?": "string", "contains?": "string" },
  reply: {
    "content?": "string",
    "toolCalls?": type({ name: "string > 0", arguments: "object" }).array(),
    "usage?": {
      inputTokens: "number.integer >= 0",
      outputTokens: "number.integer >= 0",
      "costMicros?": "number.integer >= 0",
    },
  },
}).array();

/**
 * Checks a script that came from a file.
 *
 * @returns a message naming what was wrong when it is none
 */
export function readModelScript(value: unknown): ModelScript | string {
  const read = shape(value);
  return read instanceof type.errors ? `model script: ${read.summary}` : (read as ModelScript);
}
