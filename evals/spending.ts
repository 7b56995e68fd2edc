import { AsyncLocalStorage } from "node:async_hooks";
import { type Usage, usageOfFailure } from "../machines/contracts/domain/step-result.ts";
import type { ModelProvider } from "../machines/contracts/ports/model-provider.ts";

/*
 * What judges cost, told apart by trial: several are judged at a time, with one and the same provider of models. What a
 * model is asked while a trial is judged counts for that trial.
 */

/** Integer micro-dollars; null where a price is not known. */
export type Cost = number | null;

interface Sum {
  cost: Cost;
  /** A script answered, and no model. */
  isScripted: boolean;
}

const counted = new AsyncLocalStorage<Sum>();

export const addCosts = (one: Cost, other: Cost): Cost =>
  one === null || other === null ? null : one + other;

/** The same models, each call counted for the trial that is being judged. */
export function metered(models: ModelProvider): ModelProvider {
  return {
    ...models,
    async complete(...request) {
      const reply = await models.complete(...request);
      const sum = counted.getStore();
      if (sum === undefined) return reply;
      // An answer that no model gave costs nothing, unless its script says so.
      if (reply.ok) {
        const { usage, attempts = [], scripted } = reply.value;
        sum.cost = addCosts(sum.cost, usage.costMicros ?? (scripted === true ? 0 : null));
        sum.isScripted ||= scripted === true;
        for (const attempt of attempts)
          sum.cost = addCosts(sum.cost, costOf(attempt.usage ?? null));
      } else sum.cost = addCosts(sum.cost, costOf(usageOfFailure(reply.failure)));
      return reply;
    },
  };
}

/** Of a call that failed, which may have used nothing. */
const costOf = (usage: Usage | null): Cost => (usage === null ? 0 : (usage.costMicros ?? null));

/** Does some work, and counts what models were asked for it. */
export async function measured<T>(work: () => Promise<T>): Promise<Sum & { value: T }> {
  const sum: Sum = { cost: 0, isScripted: false };
  return { value: await counted.run(sum, work), ...sum };
}
