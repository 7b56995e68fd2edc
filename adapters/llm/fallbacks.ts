import { type Failure, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import {
  type ModelAttempt,
  modelFailureDetails,
  type ModelProvider,
  type ModelReply,
  type ModelTarget,
  type ModelTrouble,
} from "../../machines/contracts/ports/model-provider.ts";

/** Who is asked when another failed, and for which reasons; the usual ones when it names none. */
export interface Fallback {
  model: string;
  on?: readonly ModelTrouble[];
}

/** By the model's name as it is asked for. */
export type Fallbacks = Readonly<Record<string, readonly Fallback[]>>;

/** What another provider may well not have. What the request itself brings about follows it everywhere. */
const usual: readonly ModelTrouble[] = [
  "rate_limited",
  "overloaded",
  "network",
  "timeout",
  "circuit_open",
  "auth",
  "quota",
  "bad_answer",
];

/** Why a provider was not even asked, or did nothing but refuse the key. */
const unasked: ReadonlySet<ModelTrouble> = new Set(["auth", "circuit_open"]);

/**
 * The same models, and after one that failed those that stand in for it, in order. The reply says who served and who
 * was asked before; a failure says everyone who was asked, and what all of them used together.
 */
export function createFallbacks(models: ModelProvider, fallbacks: Fallbacks): ModelProvider {
  const chainOf = (model: string): readonly Fallback[] =>
    Object.hasOwn(fallbacks, model) ? (fallbacks[model] ?? []) : [];

  function targetOf(model: string): ModelTarget | null {
    const found = models.targets?.(model);
    return found?.ok === true ? (found.value[0] ?? null) : null;
  }

  return {
    async complete({ beforeFallback, ...request }, signal, onPart) {
      const chain = [{ model: request.model }, ...chainOf(request.model)];
      const attempts: ModelAttempt[] = [];
      let hasTold = false;
      const tell =
        onPart === undefined
          ? undefined
          : (part: Parameters<typeof onPart>[0]) => {
              hasTold = true;
              return onPart(part);
            };
      let at = 0;
      for (;;) {
        const { model } = chain[at] ?? { model: request.model };
        const outcome = await models.complete({ ...request, model }, signal, tell);
        if (outcome.ok) return served(outcome.value, attempts);
        const reason = modelFailureDetails(outcome.failure)?.reason;
        const next = chain.findIndex(
          ({ on = usual }: Fallback, index) =>
            index > at && reason !== undefined && on.includes(reason),
        );
        if (next < 0 || signal.aborted) return failed(outcome.failure, attempts);
        attempts.push(toAttempt(model, targetOf(model), outcome.failure));
        const held = await beforeFallback?.(outcome.failure);
        if (held?.ok === false) return failed(held.failure, attempts);
        at = next;
        const target = targetOf(chain[at]?.model ?? "");
        if (hasTold && target !== null) {
          const { provider, model: other } = target;
          await onPart?.({ type: "restart", provider, model: other });
        }
        hasTold = false;
      }
    },
    targets(model) {
      const first = models.targets?.(model) ?? ok([]);
      if (!first.ok) return first;
      const others = chainOf(model).flatMap((fallback) => targetOf(fallback.model) ?? []);
      return ok([...first.value, ...others]);
    },
  };
}

function toAttempt(asked: string, target: ModelTarget | null, failure: Failure): ModelAttempt {
  const usage = usageOfFailure(failure);
  const { reason = "bad_answer", status } = modelFailureDetails(failure) ?? {};
  return {
    provider: target?.provider ?? "",
    model: target?.model ?? asked,
    reason,
    message: failure.message,
    ...(status === undefined ? {} : { status }),
    ...(usage === null ? {} : { usage }),
  };
}

function served(reply: ModelReply, attempts: ModelAttempt[]): Outcome<ModelReply> {
  return ok(attempts.length === 0 ? reply : { ...reply, attempts });
}

function failed(failure: Failure, attempts: ModelAttempt[]): Outcome<ModelReply> {
  if (attempts.length === 0) return fail(failure);
  const own = usageOfFailure(failure);
  const used = [...attempts.flatMap(({ usage }) => usage ?? []), ...(own === null ? [] : [own])];
  const usage = used.length === 0 ? {} : { usage: used.reduce(together) };
  const details = { ...failure.details, ...usage, attempts } as unknown as JsonObject;
  const { untried: _, ...tried } = failure;
  // Of a chain nothing was tried where none of its providers could be asked.
  const isUntried = used.length === 0 && attempts.every(({ reason }) => unasked.has(reason));
  return fail({ ...(isUntried ? failure : tried), details });
}

function together(first: Usage, second: Usage): Usage {
  const sum = { ...first } as Record<string, unknown>;
  for (const [key, amount] of Object.entries(second)) {
    sum[key] = typeof amount === "number" ? Number(sum[key] ?? 0) + amount : amount;
  }
  return sum as Usage;
}
