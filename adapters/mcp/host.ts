import type { CallToolResult, Tool } from "@modelcontextprotocol/sdk/types.js";
import { terminal, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type {
  CompiledSchema,
  SchemaChecker,
} from "../../machines/contracts/ports/schema-checker.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { ToolHost, ToolTarget } from "../../machines/contracts/ports/tool-host.ts";
import {
  describeTool,
  findTool,
  type FoundTool,
  isSafeToRepeat,
  isShadowed,
  listTools,
  toolDigest,
} from "./catalog.ts";
import type { McpServer } from "./config.ts";
import { readResult, readText } from "./results.ts";
import { ServerConnection } from "./server-connection.ts";

/** Characters of a tool's own error that are kept. */
const errorTextLimit = 4_096;

export interface ToolHostOptions {
  servers: McpServer[];
  /** Reads the tools' own schemas, which are foreign as any. */
  schemas: SchemaChecker;
  log: Log;
  clientInfo: { name: string; version: string };
  /** Milliseconds for each connect, list and call; 30 seconds unless given. */
  timeoutMs?: number;
}

/**
 * The tools of MCP servers. A name is resolved once, by `describe`: bare, or as `server/tool`; a bare name that two
 * servers have is a `conflict`, so that neither is chosen silently. What was resolved is called by server, bare
 * name and digest, and nothing else is. A call that was sent, brought no answer
 * and may not be repeated is `in_doubt`, never retryable.
 *
 * @throws when two servers have one name
 */
export function createToolHost(options: ToolHostOptions): ToolHost {
  const { log, clientInfo, schemas, timeoutMs = 30_000 } = options;
  const servers = options.servers.map(
    (server) => new ServerConnection(server, { clientInfo, timeoutMs, log }),
  );
  const names = new Set(servers.map((server) => server.name));
  if (names.size < servers.length) throw new Error("two MCP servers have one name");
  const checks = new WeakMap<object, CompiledSchema | null>();

  /** A schema that can't be used is the server's fault: told once, and then not enforced. */
  function schemaOf(schema: object, about: { server: string; tool: string }) {
    const known = checks.get(schema);
    if (known !== undefined) return known;
    const compiled = schemas.compile(schema as JsonObject);
    const usable = typeof compiled === "string" ? null : compiled;
    if (usable === null)
      log.warn({ ...about, problem: compiled }, "MCP tool's schema is not usable");
    if (usable !== null && usable.unchecked.length > 0) {
      const fields = { ...about, patterns: usable.unchecked };
      log.warn(
        fields,
        "MCP tool's schema has patterns that no linear engine can match: not checked",
      );
    }
    checks.set(schema, usable);
    return usable;
  }

  /** What is wrong with a value by a tool's schema; null when nothing is, or when the schema can't tell. */
  function problemOf(schema: object, value: unknown, about: { server: string; tool: string }) {
    const verdict = schemaOf(schema, about)?.check(value);
    if (verdict === undefined || verdict.kind === "valid") return null;
    if (verdict.kind === "invalid") return verdict.problem;
    log.warn({ ...about, problem: verdict.problem }, "MCP tool's schema is not usable");
    checks.set(schema, null);
    return null;
  }

  function readOutput(server: string, tool: Tool, result: CallToolResult): Outcome<Json> {
    const what = `tool "${tool.name}" of MCP server "${server}"`;
    if (result.isError === true) {
      const text = cutText(readText(result), errorTextLimit) || "it gave no reason";
      return fail(terminal("tool_failed", `${what} failed: ${text}`));
    }
    if (tool.outputSchema !== undefined) {
      const { structuredContent } = result;
      const problem =
        structuredContent === undefined
          ? "is missing, though the tool declares its schema"
          : problemOf(tool.outputSchema, structuredContent, { server, tool: tool.name });
      if (problem !== null) {
        return fail(terminal("invalid_output", `structured content of ${what}: ${problem}`));
      }
    }
    return ok(readResult(result));
  }

  /** The tool that was judged, or nothing: not one that has taken its place since. */
  async function findTarget(
    { server: owner, name, digest }: ToolTarget,
    signal: AbortSignal,
  ): Promise<Outcome<FoundTool<ServerConnection>>> {
    const server = servers.find((known) => known.name === owner);
    const what = `tool "${name}" of MCP server "${owner}"`;
    if (server === undefined || isShadowed(servers, owner, name)) {
      return fail(terminal("not_found", `there is no ${what} here`));
    }
    const tools = await server.tools(signal);
    if (!tools.ok) return tools;
    const tool = tools.value.get(name);
    if (tool === undefined) return fail(terminal("not_found", `there is no ${what} any more`));
    if (toolDigest(tool) === digest) return ok({ server, tool });
    const changed = `${what} has another schema or other annotations than the one that was allowed`;
    return fail(terminal("policy_denied", `${changed}: nothing was sent`));
  }

  return {
    list: (signal) => listTools(servers, log, signal),
    async describe(name, signal) {
      const found = await findTool(servers, name, signal);
      if (!found.ok) return found;
      return ok(describeTool(name, found.value.server.name, found.value.tool));
    },
    async call(target, input, signal, idempotencyKey) {
      const found = await findTarget(target, signal);
      if (!found.ok) return found;
      const { server, tool } = found.value;
      const about = { server: server.name, tool: tool.name };
      const problem = problemOf(tool.inputSchema, input, about);
      if (problem !== null) {
        return fail(terminal("invalid_input", `input of tool "${tool.name}": ${problem}`));
      }
      const called = await server.call(
        tool,
        { name: tool.name, arguments: input, ...meta(idempotencyKey) },
        isSafeToRepeat(tool),
        signal,
      );
      if (!called.ok) return called;
      const content = readOutput(server.name, tool, called.value);
      return content.ok ? ok({ server: server.name, content: content.value }) : content;
    },
    async close() {
      await Promise.all(servers.map((server) => server.close()));
    },
  };
}

/** `_meta` is MCP's place for what is not the tool's business; its keys carry their owner's prefix. */
const meta = (idempotencyKey: string | undefined) =>
  idempotencyKey === undefined ? {} : { _meta: { "stateplane/idempotency-key": idempotencyKey } };
