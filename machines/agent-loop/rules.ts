import type { ModelReply } from "../contracts/ports/model-provider.ts";
import type { LoopContext, Turn } from "./context.ts";
import type { LoopEvent } from "./events.ts";

interface ActionArgs {
  context: LoopContext;
  event: LoopEvent;
}

/** From this share of the window on, older results are folded away, until no more than the second share is used. */
const fullShare = 0.8;
const roomyShare = 0.5;
/** Of JSON and English, cautiously: tokenizers differ, and this only decides when to make room. */
const charactersPerToken = 3;
/** A result this short is not worth leaving out. */
export const keptLength = 400;

const tokensOf = (characters: number): number => Math.ceil(characters / charactersPerToken);

/** Whether a result is long enough to be left out. */
export const isFoldable = (content: string): boolean => content.length > keptLength;

const shownLength = ({ results }: Turn): number =>
  results.reduce((sum, { content }) => sum + content.length, 0);

const foldableLength = ({ results }: Turn): number =>
  results.reduce((sum, { content }) => sum + (isFoldable(content) ? content.length : 0), 0);

/**
 * Tokens of the next request, estimated: what the last call really used, and the results that came since. A model that
 * says nothing of its use is counted by the length of its turns.
 */
export function estimateTokens(turns: readonly Turn[], folded: number): number {
  const last = turns.at(-1);
  if (last === undefined) return 0;
  const { inputTokens, outputTokens } = last.reply.usage;
  if (inputTokens > 0) return inputTokens + outputTokens + tokensOf(shownLength(last));
  const characters = turns.map((turn, at) => {
    const said = turn.reply.content.length + JSON.stringify(turn.reply.toolCalls).length;
    return said + (at < folded ? shownLength(turn) - foldableLength(turn) : shownLength(turn));
  });
  return tokensOf(characters.reduce((sum, length) => sum + length, 0));
}

/**
 * The results of how many turns to leave out of the next request: as before while there is room, else as many of the
 * oldest as make half of the window free. Those of the last turn are always shown.
 *
 * @param isTooLong the model has refused the conversation as it was: all that can go goes
 */
export function foldedTurns(
  { turns, folded, limits }: Pick<LoopContext, "turns" | "folded" | "limits">,
  isTooLong: boolean,
): number {
  const most = Math.max(turns.length - 1, 0);
  if (isTooLong) return most;
  let tokens = estimateTokens(turns, folded);
  if (tokens <= limits.windowTokens * fullShare) return folded;
  let next = folded;
  while (next < most && tokens > limits.windowTokens * roomyShare) {
    const turn = turns[next];
    if (turn !== undefined) tokens -= tokensOf(foldableLength(turn));
    next += 1;
  }
  return next;
}

/** Whether the model will not answer: what it said then is no result. */
const isRefused = ({ event }: ActionArgs): boolean =>
  event.type === "reply.received" && event.reply.finishReason === "refusal";

/** Whether the model itself ended its message: what ended for any other reason may be cut, however whole it looks. */
export const isWhole = ({ finishReason }: Pick<ModelReply, "finishReason">): boolean =>
  finishReason === "stop" || finishReason === "tool_calls";

/** Whether a reply that calls nothing is all of an answer. A message that ended for calls and has none has lost them. */
const isAnswer = ({ event }: ActionArgs): boolean =>
  event.type === "reply.received" && event.reply.finishReason === "stop";

/** Whether the model may call anything at all. */
const mayCall = ({ context }: ActionArgs): boolean => context.limits.maxIterations > 0;

const hasCalls = ({ event }: ActionArgs): boolean =>
  event.type === "reply.received" && event.reply.toolCalls.length > 0;

const hasForbiddenCalls = (given: ActionArgs): boolean => hasCalls(given) && !mayCall(given);

/** Whether leaving results out could still make the conversation short enough. */
const mayFold = ({ context, event }: ActionArgs): boolean =>
  event.type === "model.failed" &&
  event.failure.kind === "too_large" &&
  context.turns.slice(context.folded, -1).some((turn) => foldableLength(turn) > 0);

/** How many turns in a row were like an earlier one, with the turn of this digest. */
export const repeatsAfter = ({ seen, repeats }: LoopContext, digest: string): number =>
  seen.includes(digest) ? repeats + 1 : 0;

/** Whether the model goes in a circle: the same calls with the same results as before, again and again. */
const isStuck = ({ context, event }: ActionArgs): boolean =>
  event.type === "results.received" &&
  repeatsAfter(context, event.digest) >= context.limits.maxRepeats;

/** Whether the model was asked as often as it may be. */
const isAtCap = ({ context }: ActionArgs): boolean =>
  context.turns.length >= context.limits.maxIterations;

/** What decides between two arrows of the chart: pure, one function a guard. */
export const rules = {
  isRefused,
  isAnswer,
  hasCalls,
  mayCall,
  hasForbiddenCalls,
  mayFold,
  isStuck,
  isAtCap,
};
