import type { Ask } from "../contracts/domain/action.ts";
import type { Failure } from "../contracts/domain/failure.ts";
import type { Finding } from "../contracts/domain/screening/output-rules.ts";
import type { JsonObject } from "../contracts/domain/json.ts";
import type { ToolTarget } from "../contracts/ports/tool-host.ts";
import type { ModelReply } from "../contracts/ports/model-provider.ts";

/** Bounds of one loop. */
export interface LoopLimits {
  /**
   * How often the model is asked with tools; one more answer, without tools, ends a loop that got so far. 0: it is asked
   * for an answer alone.
   */
  maxIterations: number;
  /** Turns in a row that do and learn nothing new after which the loop is stuck. At least 1. */
  maxRepeats: number;
  /** Tokens that the model reads at most, as far as is known. */
  windowTokens: number;
}

/** What became of one tool call. JSON: it is what the journal keeps of the call. */
export interface CallResult {
  /** What the model is shown. */
  content: string;
  /** Why the call brought no result; null when it did. */
  error: string | null;
  /** `fail_closed`: nobody could say whether it may run. */
  decision: "allow" | "deny" | "requires_approval" | "fail_closed";
  /** Of the decision. */
  reason: string;
  /** The tool's bare name, and its server; null where it was resolved to none. */
  tool: string;
  server: string | null;
  /** The approval that let it run. */
  approvalId: string | null;
  /**
   * Hex SHA-256 of what was judged: this tool, schema and arguments in this step. Where a person was asked, the
   * approval's. Null where nothing was judged.
   */
  digest: string | null;
  /** Milliseconds of the call itself. */
  durationMs: number;
  /** Whether the tool was called. */
  ran: boolean;
  /** Of a call that the Airlock blocked: what it found, in the wire's words. */
  airlock?: JsonObject;
  /** All of a result that was too long to be shown. */
  artifact?: JsonObject;
  /** What screening found in it. */
  screening?: Finding[];
}

/**
 * The tool that a call's name meant when the model was asked. A later session may see other servers, other schemas and
 * other promises: the call goes to this one, or nowhere.
 */
export interface CallTarget extends ToolTarget {
  /** Whether it was safe to repeat, or read only. */
  isSafe: boolean;
}

/** One answer of the model, and what became of its tool calls, in their order; none while they are under way. */
export interface Turn {
  reply: ModelReply;
  /** Of each call in order, what it goes to; null where no tool of that name was offered. Absent in older journals. */
  targets?: (CallTarget | null)[];
  /** How many tools were allowed and not offered, because there are more than a model is offered at most. */
  toolsLeftOut?: number;
  results: CallResult[];
  /** Characters of each result that the model is shown, where together they were too long for its window. */
  mostShown?: number;
}

export interface LoopInput {
  limits: LoopLimits;
}

/** The loop's memory: what a fold over the step's journal leaves. JSON. */
export interface LoopContext {
  limits: LoopLimits;
  turns: Turn[];
  /** Digests of the turns so far: of their calls and what these brought. */
  seen: string[];
  /** How many of the last turns in a row were like an earlier one. */
  repeats: number;
  /** The tool results of so many turns, from the first on, are left out of what the model is shown. */
  folded: number;
  failure: Failure | null;
  /** What must be answered before the loop can go on. */
  asks: Ask[];
}

export const initialContext = ({ limits }: LoopInput): LoopContext => ({
  limits,
  turns: [],
  seen: [],
  repeats: 0,
  folded: 0,
  failure: null,
  asks: [],
});
