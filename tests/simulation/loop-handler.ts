import { defaultOptions } from "../../actors/options.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { llmHandler } from "../../actors/handlers/llm.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { RuntimePorts } from "../../actors/ports.ts";

/**
 * A user's own handler, as an agent loop would be: a model is asked, then an unsafe tool is called that needs a
 * grant of its own, then the model is asked again. Steps that are no loops get the product's handler.
 */
export function loopHandler({
  models,
  tools,
  ...others
}: Pick<RuntimePorts, "models" | "tools" | "schemas" | "artifacts" | "clock">): StepHandler {
  const options = { ...defaultOptions, defaultModel: "simulated" };
  const plain = llmHandler({ models, tools, ...others }, options);
  return async (scope) => {
    const { job, signal, effect, permission } = scope;
    if (job.input["loop"] !== true) return plain(scope);
    const ask = (turn: number) =>
      effect<JsonObject>({
        name: "model",
        input: { turn },
        repeat: "safe",
        run: async (inner, idempotencyKey) => {
          const request = { model: "simulated", messages: [], maxTokens: 1, idempotencyKey };
          const reply = await models.complete(request, inner);
          return reply.ok ? { ok: true, value: { said: reply.value.content } } : reply;
        },
      });
    const first = await ask(1);
    if (!first.ok) return first.result;
    const input = { ref: job.stepId };
    const described = await tools.describe("pay", signal);
    if (!described.ok) return { kind: "failed", failure: described.failure };
    const tool = described.value;
    const permitted = await permission({ kind: "tool", name: "pay", input });
    if (!permitted.allowed) return permitted.result;
    const paid = await effect<Json>({
      name: "tool:pay",
      input,
      repeat: "unsafe",
      ...(permitted.grant === null ? {} : { grant: permitted.grant }),
      run: async (inner) => {
        const called = await tools.call(tool, input, inner);
        return called.ok ? { ok: true, value: called.value.content } : called;
      },
    });
    if (!paid.ok) return paid.result;
    const last = await ask(2);
    return last.ok ? { kind: "done", output: last.value } : last.result;
  };
}
