import type { Failure } from "../contracts/domain/failure.ts";
import { modelFailureDetails, type ModelReply } from "../contracts/ports/model-provider.ts";
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

/** Of each result of a turn, how much of it is shown where it is not left out. */
const lengthsOf = ({ results, mostShown = Number.POSITIVE_INFINITY }: Turn): number[] =>
  results.map(({ content }) => Math.min(content.length, mostShown));

const sumOf = (lengths: readonly number[]): number =>
  lengths.reduce((sum, length) => sum + length, 0);

const shownLength = (turn: Turn): number => sumOf(lengthsOf(turn));

const foldableLength = (turn: Turn): number =>
  sumOf(lengthsOf(turn).filter((length) => length > keptLength));

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
 * oldest as make half of the window free. Those of the last turn are always shown, at least in part.
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

/**
 * The turns with the results of the last one cut so that they fit, the longest first: to what is left of the window, or
 * by half where the model has refused the conversation as it was.
 *
 * @param folded the results of so many turns are left out of the next request, of which those before it held `before`
 */
export function withLastCut(
  { turns, limits }: Pick<LoopContext, "turns" | "limits">,
  { before, folded }: { before: number; folded: number },
  isTooLong: boolean,
): Turn[] {
  const last = turns.at(-1);
  if (last === undefined) return [...turns];
  const newlyFolded = turns.slice(before, folded).map((turn) => tokensOf(foldableLength(turn)));
  const tokens = estimateTokens(turns, before) - sumOf(newlyFolded);
  const lengths = lengthsOf(last);
  const tooMany = (tokens - limits.windowTokens * fullShare) * charactersPerToken;
  if (tooMany <= 0 && !isTooLong) return [...turns];
  const room = isTooLong ? sumOf(lengths) / 2 : sumOf(lengths) - tooMany;
  const mostShown = Math.max(keptLength, longestWithin(lengths, room));
  if (lengths.every((length) => length <= mostShown)) return [...turns];
  return [...turns.slice(0, -1), { ...last, mostShown }];
}

/** How long each may be at most so that all have room together: what is shorter leaves its share to the others. */
function longestWithin(lengths: readonly number[], room: number): number {
  let left = room;
  for (const [at, length] of [...lengths].sort((one, other) => one - other).entries()) {
    const share = left / (lengths.length - at);
    if (length > share) return Math.floor(share);
    left -= length;
  }
  return Number.POSITIVE_INFINITY;
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

/** Calls that were not allowed when the model was asked; where that is not known, that are not allowed now. */
const hasForbiddenCalls = (given: ActionArgs): boolean => {
  const { event } = given;
  const wasAllowed = event.type === "reply.received" && event.mayCall === true;
  return hasCalls(given) && !wasAllowed && !mayCall(given);
};

/** Whether an older turn still has results that can be left out. */
export const hasFoldable = ({ turns, folded }: Pick<LoopContext, "turns" | "folded">): boolean =>
  turns.slice(folded, -1).some((turn) => foldableLength(turn) > 0);

/** Whether a model refused the conversation for its length: nothing else that is too large gets smaller by folding. */
export function isRefusedForLength(failure: Failure): boolean {
  const reason = modelFailureDetails(failure)?.reason ?? "context_too_long";
  return failure.kind === "too_large" && reason === "context_too_long";
}

/** Whether leaving results out, or cutting the last ones, could still make the conversation short enough. */
const mayFold = ({ context, event }: ActionArgs): boolean =>
  event.type === "model.failed" &&
  isRefusedForLength(event.failure) &&
  (hasFoldable(context) || context.turns.slice(-1).some((turn) => foldableLength(turn) > 0));

/** How many turns in a row were like an earlier one, with the turn of this digest. */
export const repeatsAfter = ({ seen, repeats }: LoopContext, digest: string): number =>
  seen.includes(digest) ? repeats + 1 : 0;

/** Whether the model goes in a circle: the same calls with the same results as before, again and again. */
const isStuck = ({ context, event }: ActionArgs): boolean =>
  event.type === "results.received" &&
  event.askedNext !== "calls" &&
  repeatsAfter(context, event.digest) >= context.limits.maxRepeats;

/** Whether the model was asked as often as it may be; what the journal has was within the cap of its time. */
function isAtCap({ context, event }: ActionArgs): boolean {
  const next = event.type === "results.received" ? event.askedNext : undefined;
  return next === undefined
    ? context.turns.length >= context.limits.maxIterations
    : next === "answer";
}

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
