import {
  type Failure,
  fail,
  ok,
  terminal,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { type Usage, usageOfFailure } from "../../machines/contracts/domain/step-result.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import {
  type ModelAttempt,
  modelFailureDetails,
  type ModelProvider,
  type ModelReply,
  type ModelTarget,
} from "../../machines/contracts/ports/model-provider.ts";
import type { PriceTable } from "./prices.ts";

/**
 * The same models, with what each call cost in its usage: of an answer, of attempts before it, and of a call that
 * failed after it had used something. The price is that of the model that answered: a name may be an alias, and its
 * snapshots may cost differently. Where configuration prices the name that was asked for, that price holds.
 *
 * What no price is known of is left without a cost, and said once; in strict mode it is not asked at all.
 */
export function createPricedModels(
  models: ModelProvider,
  { prices, strict, log }: { prices: PriceTable; strict: boolean; log: Pick<Log, "warn"> },
): ModelProvider {
  const warned = new Set<string>();

  function warn({ provider, model }: ModelTarget): void {
    const name = `${provider}/${model}`;
    if (warned.has(name) || warned.size >= 1_000) return;
    warned.add(name);
    const text = `no price of model ${name} is known: its cost is left out, and no cost budget counts it; give one under "prices"`;
    log.warn({ provider, model }, text);
  }

  function targetsOf(name: string): ModelTarget[] {
    const targets = models.targets?.(name);
    return targets?.ok === true ? targets.value : [];
  }

  function priced(asked: readonly ModelTarget[], answered: ModelTarget, usage: Usage): Usage {
    // A script says its own cost, or none.
    if (usage.costMicros !== undefined) return usage;
    const meant = asked.find(({ provider }) => provider === answered.provider);
    const own = meant === undefined ? null : prices.find(meant);
    const isOwn = own?.source.startsWith("configuration") === true;
    const target = isOwn && meant !== undefined ? meant : answered;
    const cost = prices.cost(target, usage) ?? (meant ? prices.cost(meant, usage) : null);
    if (cost !== null) return { ...usage, costMicros: cost };
    warn(answered);
    return usage;
  }

  const pricedAttempts = (asked: readonly ModelTarget[], attempts: readonly ModelAttempt[]) =>
    attempts.map((attempt) =>
      attempt.usage === undefined
        ? attempt
        : { ...attempt, usage: priced(asked, attempt, attempt.usage) },
    );

  function pricedReply(asked: readonly ModelTarget[], reply: ModelReply): ModelReply {
    if (reply.scripted === true) return reply;
    const { attempts } = reply;
    return {
      ...reply,
      usage: priced(asked, reply, reply.usage),
      ...(attempts === undefined ? {} : { attempts: pricedAttempts(asked, attempts) }),
    };
  }

  function pricedFailure(asked: readonly ModelTarget[], failure: Failure): Failure {
    const said = modelFailureDetails(failure);
    const usage = usageOfFailure(failure);
    if (said === null || usage === null) return failure;
    const [first] = asked;
    const target = {
      provider: said.provider ?? first?.provider ?? "",
      model: said.model ?? first?.model ?? "",
    };
    const details = { ...failure.details, usage: priced(asked, target, usage) };
    return { ...failure, details: details as JsonObject };
  }

  function withWindow(target: ModelTarget): ModelTarget {
    const contextWindow = prices.contextWindow(target);
    return contextWindow === null ? target : { ...target, contextWindow };
  }

  return {
    targets(name) {
      const found = models.targets?.(name) ?? ok([]);
      return found.ok ? ok(found.value.map(withWindow)) : found;
    },
    async complete(request, signal, onPart): Promise<Outcome<ModelReply>> {
      const asked = targetsOf(request.model);
      const unpriced = strict
        ? asked.find((target) => !isFree(target) && prices.find(target) === null)
        : undefined;
      if (unpriced !== undefined) return fail(noPrice(unpriced));
      const answer = await models.complete(request, signal, onPart);
      return answer.ok
        ? { ok: true, value: pricedReply(asked, answer.value) }
        : fail(pricedFailure(asked, answer.failure));
    },
  };
}

/** Nothing is paid for what was written down before. */
const isFree = ({ provider }: ModelTarget) => provider === "scripted" || provider === "recorded";

function noPrice({ provider, model }: ModelTarget): Failure {
  const name = `${provider}/${model}`;
  const message = `no price of model ${JSON.stringify(name)} is known, and unknownPrices (STATEPLANE_UNKNOWN_PRICES) is "refuse"; give a price under "prices", or set unknownPrices to "warn"`;
  return terminal("invalid_input", message, { reason: "unknown_model", provider, model });
}
