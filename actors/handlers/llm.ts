import { type } from "arktype";
import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { llmInput, readMessages } from "../../machines/contracts/domain/step-input.ts";
import type { ModelMessage, ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler, StepScope } from "./handler.ts";

const modelParams = type({
  "temperature?": "0 <= number <= 2 | null",
  "max_tokens?": "number.integer > 0 | null",
}).or("null");

type Repair = Pick<StepScope, "repairNote" | "repairAnswer">;

/** The messages a step's input stands for: explicit ones, a task, or a prompt; and what is to be mended. */
export function toMessages(job: Job, { repairNote, repairAnswer }: Repair): ModelMessage[] {
  const input = llmInput.assert(job.input);
  const text = input.task ?? input.prompt ?? input.content;
  const asked: ModelMessage[] = readMessages(input.messages) ?? [
    { role: "user", content: text ?? `Process this input: ${JSON.stringify(job.input)}` },
  ];
  const repair = `The last answer was not accepted: ${repairNote}. Answer again, corrected.`;
  const system = [input.system_prompt, schemaInstruction(input.output_schema)].filter(Boolean);
  return [
    ...(system.length === 0 ? [] : [{ role: "system" as const, content: system.join("\n\n") }]),
    ...asked,
    ...(repairNote === null || !repairAnswer
      ? []
      : [{ role: "assistant" as const, content: repairAnswer }]),
    ...(repairNote === null ? [] : [{ role: "user" as const, content: repair }]),
  ];
}

/** Told to every model, for not every provider holds its models to a schema; null where none is asked for. */
function schemaInstruction(schema: object | null | undefined): string | null {
  if (!schema) return null;
  return `Answer with JSON alone, without any text around it. It must match this JSON Schema:\n${JSON.stringify(schema)}`;
}

/** Asks a model once. The reply is always an object, whichever provider gave it. */
export function llmHandler(
  { models }: Pick<RuntimePorts, "models">,
  defaultModel: string,
): StepHandler {
  return async ({ job, repairNote, repairAnswer, effect, budget }) => {
    const input = llmInput.assert(job.input);
    const params = modelParams(input.model_params ?? null);
    if (params instanceof type.errors) {
      const message = `llm step input: model_params ${params.summary}`;
      return { kind: "failed", failure: terminal("invalid_input", message) };
    }
    const temperature = input.temperature ?? params?.temperature ?? undefined;
    const request = {
      model: input.model ?? defaultModel,
      messages: toMessages(job, { repairNote, repairAnswer }),
      maxTokens: input.max_tokens ?? params?.max_tokens ?? 4_096,
      ...(temperature === undefined ? {} : { temperature }),
      ...(input.output_schema ? { responseSchema: input.output_schema as JsonObject } : {}),
    };
    const asked = await effect({
      name: `model:${request.model}`,
      input: request as unknown as JsonObject,
      repeat: "safe",
      run: async (signal, idempotencyKey) => {
        const keyed = { ...request, idempotencyKey };
        const reply = await budget.spend(keyed, signal, () => models.complete(keyed, signal));
        return reply.ok ? { ok: true, value: reply.value as ModelReply & JsonObject } : reply;
      },
    });
    if (!asked.ok) return asked.result;
    const reply: ModelReply = asked.value;
    budget.used(reply);
    const failure = unfinished(reply);
    if (failure !== null) return { kind: "failed", failure, usage: reply.usage };
    return { kind: "done", output: toOutput(reply), usage: reply.usage };
  };
}

function unfinished(reply: ModelReply) {
  if (reply.finishReason === "refusal") {
    return terminal("model_failed", `${reply.model} refused to answer`);
  }
  return null;
}

/** The last three keys are FerrumDeck's: its dashboard shows an answer only where they are there. */
function toOutput(reply: ModelReply): JsonObject {
  return {
    response: reply.content,
    model: reply.model,
    provider: reply.provider,
    finish_reason: reply.finishReason,
    ...(reply.scripted === true ? { scripted: true } : {}),
    tool_calls: reply.toolCalls as unknown as JsonObject[],
    iterations: 1,
    status: "completed",
  };
}
