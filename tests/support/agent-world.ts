import { digestOf } from "../../actors/step/approvals.ts";
import { type Failure, ok } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelRequest,
  ToolCall,
} from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";

export type Answer = Partial<ModelReply> & { calls?: Partial<ToolCall>[] };

export interface AgentModel {
  models: ModelProvider;
  /** What the model was asked, in order. */
  requests: ModelRequest[];
}

/** A model that answers as it is told: by turn, or by what it is shown. */
export function agentModel(
  answer: Answer[] | ((request: ModelRequest, turn: number) => Answer | Failure),
): AgentModel {
  const requests: ModelRequest[] = [];
  const complete: ModelProvider["complete"] = async (request) => {
    requests.push(request);
    const turn = request.messages.filter(({ role }) => role === "assistant").length;
    const said = Array.isArray(answer) ? (answer[turn] ?? {}) : answer(request, turn);
    if ("retryable" in said) return { ok: false, failure: said };
    const { calls = [], ...more } = said;
    return ok({
      provider: "test",
      model: request.model,
      content: "",
      toolCalls: calls.map((call, at) => ({
        id: `call_${turn}_${at}`,
        name: "read",
        arguments: {},
        ...call,
      })),
      finishReason: calls.length > 0 ? "tool_calls" : "stop",
      usage: { inputTokens: 10, outputTokens: 5, costMicros: 7 },
      ...more,
    });
  };
  return { models: { complete }, requests };
}

export interface AgentTools {
  tools: ToolHost;
  /** What the tools were really called with, in order. */
  calls: { name: string; input: JsonObject; server: string }[];
  /** What its servers say that they have by now; to be changed by a test. */
  described: ToolDescription[];
}

/** Tools that count their calls: those called `read…` are safe to repeat, and of the others nothing is promised. */
export function agentTools(
  names: readonly string[],
  run: (name: string, input: JsonObject) => Promise<Json | Failure> = async (name, input) =>
    `${name} ${JSON.stringify(input)}`,
): AgentTools {
  const calls: AgentTools["calls"] = [];
  const inputSchema = { type: "object", properties: { path: { type: "string" } } };
  const described = names.map((name): ToolDescription => ({
    name,
    server: "files",
    digest: digestOf(name),
    address: name,
    description: `Does ${name}.`,
    inputSchema,
    outputSchema: null,
    safeToRepeat: name.startsWith("read"),
    readOnly: false,
  }));
  const nowhere = { kind: "not_found", message: "no such tool", retryable: false } as const;
  return {
    calls,
    described,
    tools: {
      list: async () => ok([...described]),
      describe: async (name) => {
        const found = described.find((tool) =>
          [tool.name, `${tool.server}/${tool.name}`].includes(name),
        );
        return found === undefined ? { ok: false, failure: nowhere } : ok(found);
      },
      async call({ name, server, digest }, input) {
        const known = described.find((tool) => tool.name === name && tool.server === server);
        if (known === undefined) return { ok: false, failure: nowhere };
        if (known.digest !== digest) {
          const message = "it has changed: nothing was sent";
          return { ok: false, failure: { kind: "policy_denied", message, retryable: false } };
        }
        calls.push({ name, input, server });
        const content = await run(name, input);
        const isFailure = typeof content === "object" && content !== null && "retryable" in content;
        return isFailure
          ? { ok: false, failure: content as unknown as Failure }
          : ok({ server, content: content as Json });
      },
      close: async () => {},
    },
  };
}
