import type { Ask } from "../contracts/domain/action.ts";
import type { Failure } from "../contracts/domain/failure.ts";
import type { ModelReply } from "../contracts/ports/model-provider.ts";
import type { CallResult, CallTarget } from "./context.ts";

/**
 * The outcomes of journalled effects. What the journal has completed comes back in the same order in every session, so
 * that a loop taken over stands where it stood.
 */
export type LoopEvent =
  | {
      type: "reply.received";
      reply: ModelReply;
      targets?: (CallTarget | null)[];
      toolsLeftOut?: number;
      /** Whether the model was asked with its tools, where that is known: under the bounds of that time. */
      mayCall?: boolean;
    }
  /** The model gave no answer, and asking again will not bring one. */
  | { type: "model.failed"; failure: Failure }
  /**
   * One result for each call of the last reply, in order. `digest` is that of the calls and of what they brought.
   * `askedNext` is what the model was asked for after them, where the journal has its answer already: bounds that have
   * changed since hold from the first new answer on.
   */
  | {
      type: "results.received";
      results: CallResult[];
      digest: string;
      askedNext?: "calls" | "answer";
    }
  /** A call ended in a way that the model can't mend: the step must not go on. */
  | { type: "calls.failed"; failure: Failure }
  /** The next call would break a budget. */
  | { type: "budget.exceeded"; failure: Failure }
  /** People are asked. What is finished is kept; a later session folds the journal and comes back here. */
  | { type: "approval.needed"; asks: Ask[] }
  /** Trouble that passes. The step's own machine waits and runs the loop again. */
  | { type: "trouble.met"; failure: Failure };
