import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createPrices } from "../../adapters/llm/prices.ts";
import { ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";

/** A micro-dollar a token of input, two a token of output. */
export const prices = createPrices({ overrides: { m: { input: 1, output: 2 } } });

export interface Asked {
  models: ModelProvider;
  calls: ModelRequest[];
}

/** A model `m` of one provider; `answer` says what came of a call. */
export function model(
  answer: (
    request: ModelRequest,
    call: number,
  ) => Promise<Outcome<ModelReply>> | Outcome<ModelReply>,
  strict = false,
): Asked {
  const calls: ModelRequest[] = [];
  const bare: ModelProvider = {
    targets: (name) => ok([{ provider: "test", model: name }]),
    async complete(request) {
      calls.push(request);
      return answer(request, calls.length);
    },
  };
  const log = { warn() {} };
  return { models: createPricedModels(bare, { prices, strict, log }), calls };
}

export const reply = (usage: Usage, content = "hello"): Outcome<ModelReply> =>
  ok({ provider: "test", model: "m", content, toolCalls: [], finishReason: "stop", usage });

export const used = (inputTokens: number, outputTokens: number): Usage => ({
  inputTokens,
  outputTokens,
});
