import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import { ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { llmInput } from "../../machines/contracts/domain/step-input.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimeOptions } from "../options.ts";
import { keepTools, offerTools, OfferedTools } from "./agent-tools.ts";
import { type LoopPorts, LoopWalk } from "./agent-walk.ts";
import type { HandlerOf } from "./call-handler.ts";
import type { StepHandler } from "./handler.ts";
import { readPrompt } from "./incoming.ts";

const modelParams = once(() =>
  type({
    "temperature?": "0 <= number <= 2 | null",
    "max_tokens?": "number.integer > 0 | null",
  }).or("null"),
);

type Options = Pick<
  RuntimeOptions,
  "defaultModel" | "maxIterations" | "allowlist" | "keepJournals" | "onLoopMove"
>;

/** Asks a model, with tools as long as it calls them. The output is of one shape, whoever answered. */
export function llmHandler(
  ports: LoopPorts,
  options: Options,
  handlerOf: HandlerOf = () => null,
): StepHandler {
  return async (scope) => {
    const input = llmInput().assert(scope.job.input);
    const params = modelParams()(input.model_params ?? null);
    if (params instanceof type.errors) {
      const message = `llm step input: model_params ${params.summary}`;
      return { kind: "failed", failure: terminal("invalid_input", message) };
    }
    const { refused, documents } = readPrompt(scope.job, scope.screening);
    if (refused !== null) return { kind: "failed", failure: refused };
    let offered: Outcome<OfferedTools> | null = isAgentic(input) ? null : ok(new OfferedTools([]));
    const offer = async () => {
      if (offered !== null) return offered;
      offered = await offerTools(ports.tools, options.allowlist, scope);
      if (options.keepJournals === true && offered.ok && offered.value.size > 0)
        await keepTools(scope.effect, offered.value.descriptions());
      return offered;
    };
    const temperature = input.temperature ?? params?.temperature ?? undefined;
    const { temperature: _t, max_tokens: _m, ...more } = (input.model_params ?? {}) as JsonObject;
    const request: Omit<ModelRequest, "messages" | "idempotencyKey"> = {
      model: input.model ?? options.defaultModel,
      maxTokens: input.max_tokens ?? params?.max_tokens ?? 4_096,
      ...(temperature === undefined ? {} : { temperature }),
      ...(isJsonObject(input.output_schema) ? { responseSchema: input.output_schema } : {}),
      ...(Object.keys(more).length === 0 ? {} : { params: more }),
    };
    const walk = new LoopWalk(scope, ports, {
      request,
      offer,
      handlerOf,
      documents,
      ...(options.onLoopMove ? { onMove: options.onLoopMove } : {}),
    });
    const maxIterations = input.max_iterations ?? options.maxIterations;
    for (let round = 0; round <= scope.repairs; round += 1) {
      if (round > 0 && !(await walk.repair(round))) return walk.over;
      const ended = await walk.run(round, Math.min(maxIterations, options.maxIterations));
      if (round < scope.repairs && ended.end !== "paused") walk.next(ended);
      else return walk.conclude(ended, input.on_incomplete ?? "fail");
    }
    throw new Error("a loop ended without a result");
  };
}

/** A task is worked on with tools unless the step says otherwise, as in FerrumDeck; what else is asked, only if it does. */
function isAgentic({ agentic_mode: mode, task }: ReturnType<typeof llmInput>["infer"]): boolean {
  return mode ?? (task !== undefined && task !== null);
}
