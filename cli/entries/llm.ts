/** `stateplane/llm`: models by their providers, what they cost, and who is asked in their place. */
export { createFallbacks } from "../../adapters/llm/fallbacks.ts";
export { createModels } from "../../adapters/llm/models.ts";
export { createPricedModels } from "../../adapters/llm/priced-models.ts";
export { createPrices } from "../../adapters/llm/prices.ts";
