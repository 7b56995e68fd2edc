import { type } from "arktype";
import type { Type } from "arktype";
import type { ToolAnnotations } from "@modelcontextprotocol/sdk/types.js";
import type { Answer } from "./answer.ts";

/** What a call works with: the workspace's real path, and the caller's way to stop it. */
export interface CallContext {
  workspace: string;
  signal: AbortSignal;
}

export interface ToolAnswer {
  text: string;
  /** Matches the tool's output schema. */
  structured: Record<string, unknown>;
}

export interface GitTool {
  name: string;
  description: string;
  annotations: ToolAnnotations;
  inputSchema: object;
  outputSchema: object;
  call(input: unknown, context: CallContext): Promise<Answer<ToolAnswer>>;
}

interface Definition<Input extends Type, Output extends Type> {
  name: string;
  description: string;
  annotations: ToolAnnotations;
  input: Input;
  output: Output;
  run(
    input: Input["infer"],
    context: CallContext,
  ): Promise<Answer<{ text: string; structured: Output["infer"] }>>;
}

/** A tool whose schemas, checks and types all come from one definition. */
export function gitTool<Input extends Type, Output extends Type<object>>(
  definition: Definition<Input, Output>,
): GitTool {
  const { name, description, annotations, input, output, run } = definition;
  return {
    name,
    description,
    annotations,
    inputSchema: input.toJsonSchema(),
    outputSchema: output.toJsonSchema(),
    async call(given, context) {
      const read: unknown = input(given);
      if (read instanceof type.errors) return { ok: false, problem: read.summary };
      const answer = await run(read as Input["infer"], context);
      return answer as Answer<ToolAnswer>;
    },
  };
}
