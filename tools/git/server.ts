#!/usr/bin/env node
import { realpathSync } from "node:fs";
import { parseArgs } from "node:util";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CallToolRequestSchema,
  ErrorCode,
  ListToolsRequestSchema,
  McpError,
} from "@modelcontextprotocol/sdk/types.js";
import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import { add } from "./add.ts";
import { commit } from "./commit.ts";
import { diff } from "./diff.ts";
import { log } from "./log.ts";
import { status } from "./status.ts";

const tools = [status, diff, log, add, commit];

const workspace = readWorkspace();
const stopping = new AbortController();
const server = new Server(
  { name: "stateplane-mcp-git", version: "0.1.0" },
  { capabilities: { tools: {} } },
);

server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: tools.map(
    ({ name, description, annotations, inputSchema, outputSchema }) =>
      // Arktype gives an object schema for an object type; its declared type can't say so.
      ({ name, description, annotations, inputSchema, outputSchema }) as Tool,
  ),
}));

server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
  const tool = tools.find(({ name }) => name === params.name);
  if (tool === undefined) throw new McpError(ErrorCode.InvalidParams, `no tool "${params.name}"`);
  const signal = AbortSignal.any([extra.signal, stopping.signal]);
  const answer = await tool.call(params.arguments ?? {}, { workspace, signal });
  if (!answer.ok) return { isError: true, content: [{ type: "text", text: answer.problem }] };
  const { text, structured } = answer.value;
  return { content: [{ type: "text", text }], structuredContent: structured };
});

// A git that still runs is stopped first; then nothing keeps this process alive.
const stop = (): void => {
  stopping.abort();
  void server.close();
  process.stdin.destroy();
};
process.stdin.once("end", stop);
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
await server.connect(new StdioServerTransport());

function readWorkspace(): string {
  try {
    const { values } = parseArgs({ options: { workspace: { type: "string" } } });
    const folder = values.workspace ?? process.env["FD_WORKSPACE_DIR"];
    if (!folder) throw new Error("give --workspace DIR, or set FD_WORKSPACE_DIR");
    return realpathSync(folder);
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    process.stderr.write(`stateplane-mcp-git: ${problem}\n`);
    process.exit(2);
  }
}
