import type { Json, JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";

/** A tool, and the schema with which it was judged: exactly what a call may reach. */
export interface ToolTarget {
  server: string;
  /** The bare name, as its server has it. */
  name: string;
  /** Hex SHA-256 of the canonical JSON of its title, description, input schema, output schema and annotations. */
  digest: string;
}

export interface ToolDescription extends ToolTarget {
  /** The name that means this tool alone: the bare one, or `server/tool` where several servers have that. */
  address: string;
  description: string;
  inputSchema: JsonObject;
  outputSchema: JsonObject | null;
  /** From the server's annotations: read-only or idempotent. Absent annotations mean unsafe. */
  safeToRepeat: boolean;
  readOnly: boolean;
}

/** Bytes that a tool gave, and that no record should hold: a picture, a recording, a file. */
export interface ToolAttachment {
  name: string;
  /** As the tool says; null where it says nothing. */
  mimeType: string | null;
  content: Uint8Array;
  /** Which part of a `content` that is an array describes it; null where none does. */
  part: number | null;
}

/** What a tool wants to know of a person before it goes on. */
export interface ToolQuestions {
  /** The server's own, to be given back as it was; null where it wants none. */
  state: string | null;
  /** By the server's own keys; the schema is that of the answer, an object. */
  questions: { key: string; message: string; schema: JsonObject }[];
}

export interface ToolAnswers {
  state: string | null;
  /** By the questions' keys. */
  answers: Record<string, JsonObject>;
}

export interface ToolResult {
  server: string;
  /** Instead of a result: the call goes on when it is made again with the answers. Left out where there are none. */
  asks?: ToolQuestions;
  /** Left out where there are none. */
  attachments?: ToolAttachment[];
  /** Structured content where the tool gave some, else its text parts joined by newlines. */
  content: Json;
}

/** The tools of all configured MCP servers. Connects on first use; respawns a server that went away. */
export interface ToolHost {
  list(signal: AbortSignal): Promise<Outcome<ToolDescription[]>>;
  /**
   * Resolves a name, bare or `server/tool`, to the one tool that it means. `not_found` when no server has it,
   * `conflict` when several do, `unavailable` when the server it names can't be reached.
   */
  describe(name: string, signal: AbortSignal): Promise<Outcome<ToolDescription>>;
  /**
   * Calls exactly that tool of exactly that server. When the server has no such tool by now, or another schema or
   * other annotations for it, nothing is sent: `not_found`, or `policy_denied`, since what was allowed is gone.
   * A tool's own error is a `tool_failed` failure, an argument that breaks its schema `invalid_input`. A call that
   * is repeated after a take-over carries the same key, for servers that can tell.
   */
  call(
    target: ToolTarget,
    input: JsonObject,
    signal: AbortSignal,
    idempotencyKey?: string,
    answers?: ToolAnswers,
  ): Promise<Outcome<ToolResult>>;
  close(): Promise<void>;
}
