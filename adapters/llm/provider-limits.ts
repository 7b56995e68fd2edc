import { createRequire } from "node:module";
import type { CircuitBreakerPolicy } from "cockatiel";
import { type Failure, fail, type Outcome } from "../../machines/contracts/domain/failure.ts";
import {
  modelFailureDetails,
  type ModelProvider,
  type ModelReply,
  type ModelTrouble,
} from "../../machines/contracts/ports/model-provider.ts";
import { KeyWatch } from "./key-watch.ts";
import { toFailure } from "./vendor-trouble.ts";

/*
 * What stands before each provider in this worker, from the outside in:
 *
 *   circuit       five calls in a row that failed for the provider's own reasons open it: calls fail at once, so that
 *                 another provider can be asked. After ten seconds one call is let through, and its end decides.
 *   key           a refused key is not shown to the provider again for a minute: calls fail at once, with its words
 *                 (key-watch.ts).
 *   concurrency   as many calls at once as the provider was seen to take: twice as many after each round of calls that
 *                 went well while all places were used, until the first 429; half as many after a 429, and from then on
 *                 one more a round. The rest wait in order.
 *
 * A rate limit does not open the circuit: the provider works, and wants fewer calls.
 */

const require = createRequire(import.meta.url);
/** Loaded with the first provider: many workers have none. */
const library = () => require("cockatiel") as typeof import("cockatiel");

const failuresInRow = 5;
const openMs = 10_000;
const opening: ReadonlySet<ModelTrouble> = new Set(["overloaded", "network", "timeout"]);

/** The same provider behind its limits. */
export function limitProvider(name: string, provider: ModelProvider): ModelProvider {
  const { BrokenCircuitError, circuitBreaker, CircuitState, ConsecutiveBreaker, handleWhenResult } =
    library();
  const places = new AdaptivePlaces();
  const key = new KeyWatch();
  let lastTrouble = "";
  const circuit: CircuitBreakerPolicy = circuitBreaker(
    handleWhenResult((outcome) => {
      const reason = troubleOf(outcome as Outcome<ModelReply>);
      // The one call that was let through and was cancelled has shown nothing.
      if (reason === "cancelled") return circuit.state === CircuitState.HalfOpen;
      return reason !== null && opening.has(reason);
    }),
    { halfOpenAfter: openMs, breaker: new ConsecutiveBreaker(failuresInRow) },
  );
  return {
    async complete(request, signal, onPart) {
      const place = await places.enter(signal);
      if (place === null) return fail(neverAsked(name));
      let reason: ModelTrouble | null = "cancelled";
      try {
        // The library would have all others wait for the one call that is let through, minutes perhaps.
        if (circuit.state === CircuitState.HalfOpen) return fail(notAsked(name, lastTrouble));
        const refused = key.refusal(request);
        if (refused !== null) return fail(refused);
        const outcome = await circuit.execute(() => provider.complete(request, signal, onPart));
        reason = troubleOf(outcome);
        if (!outcome.ok && reason !== null && opening.has(reason)) {
          lastTrouble = outcome.failure.message;
        }
        return key.watched(request, outcome, reason);
      } catch (error) {
        if (!(error instanceof BrokenCircuitError)) throw error;
        return fail(notAsked(name, lastTrouble));
      } finally {
        place.leave(reason === null ? "well" : reason === "rate_limited" ? "refused" : "neither");
      }
    },
  };
}

const nothingUsed = { inputTokens: 0, outputTokens: 0, costMicros: 0 };

/** A call that was cancelled while it waited: of what it held nothing was used. */
function neverAsked(name: string): Failure {
  const failure = toFailure(
    { name },
    "cancelled",
    "the model call was cancelled before it was made",
  );
  return { ...failure, details: { ...failure.details, usage: nothingUsed } };
}

function notAsked(name: string, last: string): Failure {
  const message = `${name} failed ${failuresInRow} times in a row and is not asked for ${openMs / 1_000} s; at last: ${last}`;
  return toFailure({ name }, "circuit_open", message, { waitMs: openMs });
}

function troubleOf(outcome: Outcome<ModelReply>): ModelTrouble | null {
  return outcome.ok ? null : (modelFailureDetails(outcome.failure)?.reason ?? "bad_answer");
}

export interface Place {
  /** @param how whether the provider took the call, refused it for their number, or said nothing of that */
  leave(how: "well" | "refused" | "neither"): void;
}

/**
 * Places whose number follows what a provider takes: slow start, additive increase, multiplicative decrease, as in TCP.
 * One round of refusals halves it once: calls that were begun before the last decrease say nothing new. What bounds it
 * from above is how many steps the worker runs at once.
 */
export class AdaptivePlaces {
  #limit: number;
  #taken = 0;
  /** Counts the decreases. */
  #round = 0;
  readonly #queue = new Set<() => void>();

  constructor(limit = 16) {
    this.#limit = limit;
  }

  /** How many there are now. */
  get limit(): number {
    return Math.floor(this.#limit);
  }

  get taken(): number {
    return this.#taken;
  }

  /** Waits in order for a place; null when the signal was raised first. */
  async enter(signal: AbortSignal): Promise<Place | null> {
    if (signal.aborted) return null;
    if (this.#taken >= this.limit || this.#queue.size > 0) {
      const { promise, resolve } = Promise.withResolvers<boolean>();
      const enter = () => resolve(true);
      const abort = () => resolve(!this.#queue.delete(enter));
      this.#queue.add(enter);
      signal.addEventListener("abort", abort, { once: true });
      const isIn = await promise;
      signal.removeEventListener("abort", abort);
      if (!isIn) return null;
    } else this.#taken += 1;
    const round = this.#round;
    let isLeft = false;
    return {
      leave: (how) => {
        if (isLeft) return;
        isLeft = true;
        this.#adapt(how, round);
        this.#taken -= 1;
        this.#admit();
      },
    };
  }

  #adapt(how: "well" | "refused" | "neither", round: number): void {
    if (how === "refused" && round === this.#round) {
      this.#limit = Math.max(1, Math.floor(Math.min(this.#limit, this.#taken) / 2));
      this.#round += 1;
    }
    // Only a full house shows that more could be taken.
    if (how === "well" && this.#taken >= this.limit) {
      this.#limit += this.#round === 0 ? 1 : 1 / this.#limit;
    }
  }

  #admit(): void {
    for (const enter of this.#queue) {
      if (this.#taken >= this.limit) return;
      this.#queue.delete(enter);
      this.#taken += 1;
      enter();
    }
  }
}
