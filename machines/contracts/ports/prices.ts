import type { Usage } from "../domain/step-result.ts";
import type { ModelTarget } from "./model-provider.ts";

/** What models cost. */
export interface Prices {
  /**
   * What one call costs in whole micro-dollars; null where no price of the model is known, and never 0 for that.
   * Rounded once, the whole call, up to the next micro-dollar: what was used is never counted as less.
   */
  cost(target: ModelTarget, usage: Usage): number | null;
}
