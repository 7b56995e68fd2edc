import type { Json, JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";

export interface ToolDescription {
  name: string;
  server: string;
  description: string;
  inputSchema: JsonObject;
  outputSchema: JsonObject | null;
  /** From the server's annotations: read-only or idempotent. Absent annotations mean unsafe. */
  safeToRepeat: boolean;
  readOnly: boolean;
}

export interface ToolResult {
  server: string;
  /** Structured content where the tool gave some, else its text parts joined by newlines. */
  content: Json;
}

/** The tools of all configured MCP servers. Connects on first use; respawns a server that went away. */
export interface ToolHost {
  list(signal: AbortSignal): Promise<Outcome<ToolDescription[]>>;
  /** `not_found` when no server has the tool; `unavailable` when its server can't be reached. */
  describe(name: string, signal: AbortSignal): Promise<Outcome<ToolDescription>>;
  /**
   * A tool's own error is a `tool_failed` failure, an argument that breaks its schema `invalid_input`. A call that
   * is repeated after a take-over carries the same key, for servers that can tell.
   */
  call(
    name: string,
    input: JsonObject,
    signal: AbortSignal,
    idempotencyKey?: string,
  ): Promise<Outcome<ToolResult>>;
  close(): Promise<void>;
}
