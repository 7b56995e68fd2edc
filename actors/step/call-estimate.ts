import { nothingSpent, type Spent } from "../../machines/contracts/domain/budget.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import {
  modelFailureDetails,
  type ModelReply,
  type ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimePorts } from "../ports.ts";
import { type CountedRequest, estimateNext } from "./token-estimate.ts";

/* What a model call may use before it is made, and what it has used after. */

/** Tokens, and micro-dollars where a price is known. */
export interface Estimate extends Pick<Spent, "inputTokens" | "outputTokens"> {
  costMicros: number | null;
  /** Whose price it is. */
  dearest?: string;
}

/** What has no price counts only in tokens. */
export const toSpent = ({ inputTokens, outputTokens, costMicros }: Estimate): Spent => ({
  ...nothingSpent,
  inputTokens,
  outputTokens,
  costMicros: costMicros ?? 0,
});

export const toEstimate = ({ inputTokens, outputTokens, costMicros }: Usage): Estimate => ({
  inputTokens,
  outputTokens,
  costMicros: costMicros ?? null,
});

/** What a call may use at most, at the dearest price of those who may serve it: as input, or written to a cache. */
export function estimateCall(
  { models, prices }: Pick<RuntimePorts, "models" | "prices">,
  request: ModelRequest,
  counted: CountedRequest | null = null,
): Estimate {
  const inputTokens = estimateNext(request, counted);
  const outputTokens = request.maxTokens;
  const plain: Usage = { inputTokens, outputTokens };
  const worst: Usage[] = [
    plain,
    { ...plain, cacheWrite5mTokens: inputTokens },
    { ...plain, reasoningTokens: outputTokens },
  ];
  const targets = models.targets?.(request.model);
  const found = targets?.ok === true ? targets.value : [];
  const known = found.flatMap((target) =>
    worst.flatMap((usage) => {
      const cost = prices?.cost(target, usage) ?? null;
      return cost === null
        ? []
        : [{ costMicros: cost, dearest: `${target.provider}/${target.model}` }];
    }),
  );
  const [highest] = known.toSorted((first, second) => second.costMicros - first.costMicros);
  return { inputTokens, outputTokens, ...(highest ?? { costMicros: null }) };
}

/** What the next estimate is told of a call. Null where the provider has not counted, or another model answered in the end. */
export function countedBy(
  { usage, attempts }: ModelReply,
  request: ModelRequest,
): CountedRequest | null {
  const isCounted = usage.inputTokens > 0 && usage.estimated !== true && attempts === undefined;
  return isCounted ? { request, inputTokens: usage.inputTokens } : null;
}

/** A provider that counts nothing has used what was reserved, as far as is known. */
export function usedBy(
  { usage, attempts = [], scripted }: ModelReply,
  estimate: Estimate,
): Estimate {
  const isCounted = usage.inputTokens + usage.outputTokens > 0 || scripted === true;
  const own = isCounted ? toEstimate(usage) : estimate;
  return attempts.reduce<Estimate>(
    (sum, attempt) => (attempt.usage === undefined ? sum : plus(sum, attempt.usage)),
    own,
  );
}

/** What a failed call used: as it says; all of it where it was cut short and nobody counted; else nothing. */
export function usedInVain(failure: Failure, estimate: Estimate): Estimate {
  const usage = usageOfFailure(failure);
  if (usage !== null) return toEstimate(usage);
  const reason = modelFailureDetails(failure)?.reason;
  const isCutShort = reason === "cancelled" || reason === "timeout" || failure.kind === "cancelled";
  return isCutShort ? estimate : { inputTokens: 0, outputTokens: 0, costMicros: 0 };
}

export const withoutAttempts = ({ attempts: _, ...reply }: ModelReply): ModelReply => reply;

const plus = (first: Estimate, second: Usage): Estimate => ({
  inputTokens: first.inputTokens + second.inputTokens,
  outputTokens: first.outputTokens + second.outputTokens,
  costMicros:
    first.costMicros === null && second.costMicros === undefined
      ? null
      : (first.costMicros ?? 0) + (second.costMicros ?? 0),
});

export const minus = (all: Spent, part: Partial<Spent>): Spent => ({
  ...all,
  inputTokens: all.inputTokens - (part.inputTokens ?? 0),
  outputTokens: all.outputTokens - (part.outputTokens ?? 0),
  toolCalls: all.toolCalls - (part.toolCalls ?? 0),
  costMicros: all.costMicros - (part.costMicros ?? 0),
});
