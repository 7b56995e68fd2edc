import { parseArgs, type ParseArgsConfig } from "node:util";
import { type } from "arktype";
import type { Type } from "arktype";
import {
  type CallToolResult,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type Tool,
  type ToolAnnotations,
} from "@modelcontextprotocol/server";
import { systemProblem } from "./temporary-folder.ts";
import { serveStdio } from "@modelcontextprotocol/server/stdio";

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

/** The tools as an MCP server of either era, on no connection yet. */
export function toolServer<Context extends object>(
  name: string,
  tools: readonly ServerTool<Context>[],
  context: Context,
  stopping: AbortSignal,
): Server {
  const server = new Server({ name, version: "0.1.0" }, { capabilities: { tools: {} } });
  const listed = tools.map(
    ({ call: _call, ...described }) =>
      // Arktype gives an object schema for an object type; its declared type can't say so.
      described as Tool,
  );
  server.setRequestHandler("tools/list", () => ({ tools: listed }));
  server.setRequestHandler(
    "tools/call",
    async ({ params }, { mcpReq }): Promise<CallToolResult> => {
      const tool = tools.find((known) => known.name === params.name);
      if (tool === undefined) {
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, `no tool "${params.name}"`);
      }
      const signal = AbortSignal.any([mcpReq.signal, stopping]);
      const progressToken = mcpReq._meta?.progressToken;
      let progress = 0;
      // A client that asks for progress waits for as long as there is some.
      const telling = setInterval(() => {
        if (progressToken === undefined || signal.aborted) return;
        progress += 1;
        const method = "notifications/progress";
        void mcpReq.notify({ method, params: { progressToken, progress } }).catch(() => undefined);
      }, progressEveryMs);
      const answer = await tool
        .call(params.arguments ?? {}, { ...context, signal })
        .catch((error: unknown) => {
          const problem = systemProblem(error);
          return {
            ok: false,
            problem: `this machine refused what ${tool.name} needs: ${problem}`,
          } as const;
        })
        .finally(() => clearInterval(telling));
      if (!answer.ok) return { isError: true, content: [{ type: "text", text: answer.problem }] };
      const { text, structured } = answer.value;
      return { content: [{ type: "text", text }], structuredContent: structured };
    },
  );
  return server;
}

/** Serves the tools on standard input and output until the client hangs up or a signal comes. */
export function serve<Context extends object>(
  name: string,
  tools: readonly ServerTool<Context>[],
  context: Context,
): void {
  const stopping = new AbortController();
  const served = serveStdio(() => toolServer(name, tools, context, stopping.signal));
  // A program that still runs is stopped first; then nothing keeps this process alive.
  const stop = (): void => {
    stopping.abort();
    void served.close();
    process.stdin.destroy();
  };
  process.stdin.once("end", stop);
  process.on("SIGTERM", stop).on("SIGINT", stop);
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
