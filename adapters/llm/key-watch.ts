import { type Failure, fail, type Outcome } from "../../machines/contracts/domain/failure.ts";
import {
  modelFailureDetails,
  type ModelReply,
  type ModelRequest,
  type ModelTrouble,
} from "../../machines/contracts/ports/model-provider.ts";
import { usageOfFailure } from "../../machines/contracts/domain/step-result.ts";

/*
 * Whether a provider takes this worker's key, as far as its answers have shown.
 *
 *   401   the key is refused, whatever is asked for: nobody shows it to the provider again for a minute. After that one
 *         call is let through, and its end decides.
 *   403   the key may be good, and not for this model, or not for what this call says. It holds back calls of the same
 *         model alone, and only after several in a row, so that no agent can keep another's model from being asked.
 *         The one call a minute is then one that was not refused yet, where there is one.
 *
 * A refused call is no fault of its step's, which may wait and ask again; unless the key is shown to be good meanwhile.
 * A 403 is final where the last word to another model was an answer, and where something was answered since the same
 * call was refused before.
 */

/** For how long a refused key is not tried again. */
const refusedMs = 60_000;
/** 403s of one model in a row that show that it is not about one call. */
const refusalsInRow = 3;
/** For how long an answer shows that the key is good: as long as a step waits for one. */
const answerCountsMs = 60 * 60_000;
const maxModels = 100;
/** Calls of one model of which it is known that they were refused. */
const maxCalls = 256;

/** Troubles that come before a provider has looked at the key. */
const saysNothingOfKey: ReadonlySet<ModelTrouble | null> = new Set<ModelTrouble>([
  "cancelled",
  "network",
  "timeout",
  "overloaded",
]);

interface Refusal {
  failure: Failure;
  nextTryAt: number;
}

/** What a provider last said to this key for one model. */
interface ModelWatch {
  /** When it last answered; null where its last word was a 403. */
  answeredAt: number | null;
  refusal: Refusal | null;
  inRow: number;
  /** By idempotency key, with the number of answers that had been given until then. */
  calls: Map<string, number>;
}

export class KeyWatch {
  #refusal: Refusal | null = null;
  /** In the order of their last words. */
  readonly #models = new Map<string, ModelWatch>();
  /** How often the provider answered. */
  #answers = 0;

  /** Why the provider is not to be asked now; null for a call that may go, of which there is one at a time after a refusal. */
  refusal(request: ModelRequest): Failure | null {
    const watch = this.#models.get(request.model);
    const ofModel = watch !== undefined && watch.inRow >= refusalsInRow ? watch.refusal : null;
    const refusal = this.#refusal ?? ofModel;
    if (refusal === null) return null;
    // Each of its steps asks for itself then, and is told.
    if (refusal === ofModel && this.#isGoodFor(request)) return null;
    const now = Date.now();
    const isKnown = refusal === ofModel && watch?.calls.has(request.idempotencyKey) === true;
    if (now < refusal.nextTryAt + (isKnown ? refusedMs : 0)) return refusal.failure;
    refusal.nextTryAt = now + refusedMs;
    return null;
  }

  /** The same outcome; of a refusal, whether its step may wait and ask again. */
  watched(
    request: ModelRequest,
    outcome: Outcome<ModelReply>,
    reason: ModelTrouble | null,
  ): Outcome<ModelReply> {
    if (outcome.ok || reason !== "auth") {
      this.#hear(request.model, outcome.ok, reason);
      return outcome;
    }
    const { failure } = outcome;
    // An answer that had begun was paid for: to ask again and again would be, too.
    if (usageOfFailure(failure) !== null) return outcome;
    const held: Failure = { ...failure, retryable: true, untried: true, retryAfterMs: refusedMs };
    const refusal = { failure: held, nextTryAt: Date.now() + refusedMs };
    if (modelFailureDetails(failure)?.status !== 403) {
      this.#refusal = refusal;
      return fail(held);
    }
    this.#refusal = null;
    const isFinal = this.#isGoodFor(request);
    const watch = this.#renew(request.model);
    watch.answeredAt = null;
    watch.refusal = refusal;
    watch.inRow += 1;
    addBounded(watch.calls, request.idempotencyKey, this.#answers, maxCalls);
    return fail(isFinal ? { ...failure, kind: "forbidden" } : held);
  }

  #hear(model: string, isAnswer: boolean, reason: ModelTrouble | null): void {
    const watch = isAnswer ? this.#renew(model) : this.#models.get(model);
    if (isAnswer && watch !== undefined) {
      this.#answers += 1;
      watch.answeredAt = Date.now();
    }
    // The one call that was let through has shown nothing.
    if (reason === "cancelled") {
      for (const refusal of [this.#refusal, watch?.refusal]) if (refusal) refusal.nextTryAt = 0;
    }
    if (saysNothingOfKey.has(reason)) return;
    this.#refusal = null;
    if (watch !== undefined) watch.inRow = 0;
  }

  /** Whether the key is good, as far as is known, so that its refusal is about this model or this call. */
  #isGoodFor({ model, idempotencyKey }: ModelRequest): boolean {
    const before = this.#models.get(model)?.calls.get(idempotencyKey);
    if (before !== undefined && this.#answers > before) return true;
    const [, last] = [...this.#models].findLast(([other]) => other !== model) ?? [];
    const answeredAt = last?.answeredAt ?? null;
    return answeredAt !== null && Date.now() - answeredAt < answerCountsMs;
  }

  /** The model's watch, put last. */
  #renew(model: string): ModelWatch {
    const watch = this.#models.get(model) ?? {
      answeredAt: null,
      refusal: null,
      inRow: 0,
      calls: new Map<string, number>(),
    };
    addBounded(this.#models, model, watch, maxModels);
    return watch;
  }
}

/** Puts a value last, and drops the first ones beyond the bound. */
function addBounded<Value>(map: Map<string, Value>, key: string, value: Value, most: number): void {
  map.delete(key);
  map.set(key, value);
  for (const first of map.keys()) {
    if (map.size <= most) return;
    map.delete(first);
  }
}
