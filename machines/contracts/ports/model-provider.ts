import type { JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";
import type { Usage } from "../domain/step-result.ts";

export type ModelMessage =
  | { role: "system" | "user"; content: string }
  | { role: "assistant"; content: string; toolCalls?: ToolCall[] }
  | { role: "tool"; toolCallId: string; content: string; isError?: boolean };

export interface ToolCall {
  id: string;
  name: string;
  /** Parsed arguments; `null` with `problem` when the model's text was not a JSON object. */
  arguments: JsonObject | null;
  problem?: string;
}

export interface ModelTool {
  name: string;
  description: string;
  inputSchema: JsonObject;
}

export interface ModelRequest {
  model: string;
  messages: ModelMessage[];
  maxTokens: number;
  temperature?: number;
  tools?: ModelTool[];
  idempotencyKey: string;
}

export interface ModelReply {
  provider: string;
  /** The model that answered, as the provider names it. */
  model: string;
  content: string;
  toolCalls: ToolCall[];
  finishReason: "stop" | "length" | "tool_calls" | "refusal" | "other";
  usage: Usage;
  /** True when a declared script answered and no model was asked. */
  scripted?: true;
}

export interface ModelProvider {
  complete(request: ModelRequest, signal: AbortSignal): Promise<Outcome<ModelReply>>;
}
