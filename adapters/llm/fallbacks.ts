import { type Failure, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
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
 * was asked before; a failure says everyone who was asked, and what all of them used together. What may pass for one of
 * them may pass for the chain: its failure is that of the last one that may be asked again, if there is one.
 *
 * @param log told once an answer that another gave than was asked first
 */
export function createFallbacks(
  models: ModelProvider,
  fallbacks: Fallbacks,
  log?: Pick<Log, "info">,
): ModelProvider {
  const chainOf = (model: string): readonly Fallback[] =>
    Object.hasOwn(fallbacks, model) ? (fallbacks[model] ?? []) : [];

  function targetOf(model: string): ModelTarget | null {
    const found = models.targets?.(model);
    return found?.ok === true ? (found.value[0] ?? null) : null;
  }

  return {
    async complete({ afterAttempt, ...request }, signal, onPart) {
      const chain = [{ model: request.model }, ...chainOf(request.model)];
      const links: Link[] = [];
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
        if (outcome.ok) {
          if (links.length > 0) log?.info(...failover(outcome.value, links));
          return served(outcome.value, links);
        }
        const { failure } = outcome;
        const reason = modelFailureDetails(failure)?.reason;
        const next = chain.findIndex(
          ({ on = usual }: Fallback, index) =>
            index > at && reason !== undefined && on.includes(reason),
        );
        links.push({ failure, attempt: toAttempt(model, targetOf(model), failure) });
        const goesOn = next >= 0 && !signal.aborted;
        const held = await afterAttempt?.(failure, goesOn);
        if (signal.aborted) return failed(failure, links.slice(0, -1));
        if (!goesOn) return failedAt(links);
        if (held?.ok === false) return failed(held.failure, links);
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

/** One who was asked in vain. */
interface Link {
  failure: Failure;
  attempt: ModelAttempt;
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

function failover({ provider, model }: ModelReply, links: readonly Link[]) {
  const inVain = links.map(({ attempt }) => `${attempt.provider}/${attempt.model}`);
  const reasons = links.map(({ attempt: { reason, message } }) => ({ reason, message }));
  const why = links.map(({ failure }) => failure.message).join("; ");
  const text = `${provider}/${model} answered in place of ${inVain.join(", ")}: ${why}`;
  return [{ provider, model, inVain, reasons }, text] as const;
}

function served(reply: ModelReply, links: readonly Link[]): Outcome<ModelReply> {
  return ok(links.length === 0 ? reply : { ...reply, attempts: links.map(attemptOf) });
}

/** The end of a chain: as the last link that may be asked again failed, else as the last one did. */
function failedAt(links: readonly Link[]): Outcome<ModelReply> {
  const last = links.length - 1;
  const passing = links.findLastIndex(({ failure }) => failure.retryable);
  const chosen = links[passing < 0 ? last : passing];
  if (chosen === undefined) throw new Error("a chain ended before anyone was asked");
  const others = links.filter((link) => link !== chosen);
  if (passing < 0 || passing === last) return failed(chosen.failure, others);
  const words = others.map(({ failure }) => failure.message).join("; ");
  const message = `${chosen.failure.message}; others in its chain failed too: ${words}`;
  return failed({ ...chosen.failure, message }, others);
}

function failed(failure: Failure, others: readonly Link[]): Outcome<ModelReply> {
  if (others.length === 0) return fail(failure);
  const attempts = others.map(attemptOf);
  const own = usageOfFailure(failure);
  const used = [...attempts.flatMap(({ usage }) => usage ?? []), ...(own === null ? [] : [own])];
  const usage = used.length === 0 ? {} : { usage: used.reduce(together) };
  const details = { ...failure.details, ...usage, attempts } as unknown as JsonObject;
  const { untried: _, ...tried } = failure;
  // Of a chain nothing was tried where none of its providers could be asked, now or ever.
  const isUntried = used.length === 0 && others.every(isUnasked);
  return fail({ ...(isUntried ? failure : tried), details });
}

const attemptOf = ({ attempt }: Link): ModelAttempt => attempt;

const isUnasked = ({ failure, attempt }: Link): boolean =>
  !failure.retryable || unasked.has(attempt.reason);

function together(first: Usage, second: Usage): Usage {
  const sum = { ...first } as Record<string, unknown>;
  for (const [key, amount] of Object.entries(second)) {
    sum[key] = typeof amount === "number" ? Number(sum[key] ?? 0) + amount : amount;
  }
  return sum as Usage;
}
