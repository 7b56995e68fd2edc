import { type } from "arktype";
import type { Json } from "./json.ts";

/**
 * One line of a step's journal. An effect is identified by `effect`: its name, the digest of its input and
 * its occurrence, so that a second walk through the same handler finds the same effects.
 */
export const journalEntryShape = type({
  event: "'begun'",
  effect: "string",
  /** Epoch milliseconds. */
  at: "number",
  /** Digest of the grant that this effect spends. */
  "grant?": "string",
}).or({
  event: "'completed'",
  effect: "string",
  at: "number",
  result: "unknown",
});

export type JournalEntry =
  | { event: "begun"; effect: string; at: number; grant?: string }
  | { event: "completed"; effect: string; at: number; result: Json };
