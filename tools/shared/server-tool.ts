import { parseArgs, type ParseArgsConfig } from "node:util";
import { type } from "arktype";
import type { Type } from "arktype";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CallToolRequestSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
} from "@modelcontextprotocol/sdk/types.js";
import type { Tool, ToolAnnotations } from "@modelcontextprotocol/sdk/types.js";

/** A value, or one line that says what is wrong. */
export type Answer<T> = { ok: true; value: T } | { ok: false; problem: string };

export interface ToolAnswer {
  text: string;
  /** Matches the tool's output schema. */
  structured: Record<string, unknown>;
}

/** @typeParam Context - what every call works with, beside the caller's way to stop it */
export interface ServerTool<Context> {
  name: string;
  description: string;
  annotations: Required<ToolAnnotations>;
  inputSchema: object;
  outputSchema: object;
  call(input: unknown, context: Context & { signal: AbortSignal }): Promise<Answer<ToolAnswer>>;
}

interface Definition<Context, Input extends Type, Output extends Type> {
  name: string;
  description: string;
  /** All of them, since a client takes a missing one for the most dangerous value. */
  annotations: Required<ToolAnnotations>;
  input: Input;
  output: Output;
  run(
    input: Input["infer"],
    context: Context & { signal: AbortSignal },
  ): Promise<Answer<{ text: string; structured: Output["infer"] }>>;
}

/** A tool whose schemas, checks and types all come from one definition. */
export function serverTool<Context, Input extends Type, Output extends Type<object>>(
  definition: Definition<Context, Input, Output>,
): ServerTool<Context> {
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

/** Milliseconds between two signs of life. */
const progressEveryMs = 5_000;

/** Serves the tools on standard input and output until the client hangs up or a signal comes. */
export async function serve<Context extends object>(
  name: string,
  tools: readonly ServerTool<Context>[],
  context: Context,
): Promise<void> {
  const stopping = new AbortController();
  const server = new Server({ name, version: "0.1.0" }, { capabilities: { tools: {} } });

  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: tools.map(
      (tool) =>
        // Arktype gives an object schema for an object type; its declared type can't say so.
        ({
          name: tool.name,
          description: tool.description,
          annotations: tool.annotations,
          inputSchema: tool.inputSchema,
          outputSchema: tool.outputSchema,
        }) as Tool,
    ),
  }));

  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const tool = tools.find((known) => known.name === params.name);
    if (tool === undefined) throw new McpError(ErrorCode.InvalidParams, `no tool "${params.name}"`);
    const signal = AbortSignal.any([extra.signal, stopping.signal]);
    const progressToken = params._meta?.progressToken;
    let progress = 0;
    // A client that asks for progress waits for as long as there is some.
    const telling = setInterval(() => {
      if (progressToken === undefined || signal.aborted) return;
      progress += 1;
      const method = "notifications/progress";
      void extra
        .sendNotification({ method, params: { progressToken, progress } })
        .catch(() => undefined);
    }, progressEveryMs);
    const answer = await tool
      .call(params.arguments ?? {}, { ...context, signal })
      .finally(() => clearInterval(telling));
    if (!answer.ok) return { isError: true, content: [{ type: "text", text: answer.problem }] };
    const { text, structured } = answer.value;
    return { content: [{ type: "text", text }], structuredContent: structured };
  });

  // A program that still runs is stopped first; then nothing keeps this process alive.
  const stop = (): void => {
    stopping.abort();
    void server.close();
    process.stdin.destroy();
  };
  process.stdin.once("end", stop);
  process.once("SIGTERM", stop);
  process.once("SIGINT", stop);
  await server.connect(new StdioServerTransport());
}

/** What `read` makes of the command line; a server that can't use it says why in one line, and exits with 2. */
export function readCommandLine<Options extends NonNullable<ParseArgsConfig["options"]>, Context>(
  name: string,
  options: Options,
  read: (values: ReturnType<typeof parseArgs<{ options: Options }>>["values"]) => Context,
): Context {
  try {
    return read(parseArgs({ options }).values);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${name}: ${problem}\n`);
    process.exit(2);
  }
}
