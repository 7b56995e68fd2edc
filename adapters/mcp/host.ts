import {
  type CallToolResult,
  isInputRequiredResult,
  type Tool,
} from "@modelcontextprotocol/client";
import { context, propagation, trace } from "@opentelemetry/api";
import {
  type Failure,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type {
  CompiledSchema,
  SchemaChecker,
} from "../../machines/contracts/ports/schema-checker.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type {
  ToolAnswers,
  ToolHost,
  ToolResult,
  ToolTarget,
} from "../../machines/contracts/ports/tool-host.ts";
import {
  addressOf,
  describeTool,
  disabledSource,
  findTool,
  type FoundTool,
  isSafeToRepeat,
  isShadowed,
  listTools,
  serverOf,
  toolDigest,
  type ToolSource,
} from "./catalog.ts";
import type { McpServer } from "./config.ts";
import type { LifetimeState } from "./lifetime.ts";
import type { PinOptions } from "./pins.ts";
import { readQuestions } from "./questions.ts";
import { readResult, readText } from "./results.ts";
import { ServerConnection } from "./server-connection.ts";
import { ToolSet, type ToolSetLook } from "./tool-set.ts";

/** Characters of a tool's own error that are kept. */
const errorTextLimit = 4_096;

export interface ToolHostOptions {
  servers: McpServer[];
  /** Reads the tools' own schemas, which are foreign as any. */
  schemas: SchemaChecker;
  log: Log;
  clientInfo: { name: string; version: string };
  /** Names of servers that are configured and disabled: no other server's tools may read as theirs. */
  disabled?: readonly string[];
  /** What was accepted of each server, which its tools must be; without it, no change is noticed. */
  pins?: PinOptions;
  /** Milliseconds for each connect, list and call, of servers that say nothing of it; 30 seconds unless given. */
  timeoutMs?: number;
}

/** One server as a person sees it; a failure where it does not list its tools, null where it was left alone. */
export interface ServerLook {
  name: string;
  found: Outcome<ToolSetLook> | null;
  /** Whether a tool is left out because its own name reads as another server's. */
  isShadowed(tool: string): boolean;
  /** The name that means the tool alone. */
  address(tool: string): string;
}

/** A tool host that also shows what it knows of its servers, what may not be used included. */
export interface McpHost extends ToolHost {
  /** What becomes of each server's connection now, by the server's name; asks no server. */
  states(): Record<string, LifetimeState | "quarantined">;
  /** @param atStart leaves servers alone that are to be started when they are first used */
  look(signal: AbortSignal, atStart?: boolean): Promise<ServerLook[]>;
}

/**
 * The tools of MCP servers. A name is resolved once, by `describe`: bare, or as `server/tool`; a bare name that two
 * servers have is a `conflict`, so that neither is chosen silently. What was resolved is called by server, bare
 * name and digest, and nothing else is. A call that was sent, brought no answer
 * and may not be repeated is `in_doubt`, never retryable.
 *
 * @throws when two servers have one name
 */
export function createToolHost(options: ToolHostOptions): McpHost {
  const { log, clientInfo, schemas, pins = null, timeoutMs = 30_000 } = options;
  const servers = options.servers.map(
    (server) =>
      new ToolSet(
        new ServerConnection(server, { clientInfo, timeoutMs: server.timeoutMs ?? timeoutMs, log }),
        { schemas, pins, log },
      ),
  );
  const sources: ToolSource[] = [...servers, ...(options.disabled ?? []).map(disabledSource)];
  const names = new Set(servers.map((server) => server.name));
  if (names.size < servers.length) throw new Error("two MCP servers have one name");
  const checks = new WeakMap<object, CompiledSchema>();

  /** Those of the tools in use were compiled before; a schema that could not be is in no tool that is called. */
  function schemaOf(schema: object, about: { server: string; tool: string }) {
    const known = checks.get(schema);
    if (known !== undefined) return known;
    const compiled = schemas.compile(schema as JsonObject);
    if (typeof compiled === "string") return compiled;
    if (compiled.unchecked.length > 0) {
      const fields = { ...about, patterns: compiled.unchecked };
      log.warn(
        fields,
        "MCP tool's schema has patterns that no linear engine can match: not checked",
      );
    }
    checks.set(schema, compiled);
    return compiled;
  }

  /** What is wrong with a value by a tool's schema; null when nothing is. What the schema can't tell is wrong too. */
  function problemOf(schema: object, value: unknown, about: { server: string; tool: string }) {
    const compiled = schemaOf(schema, about);
    if (typeof compiled === "string") return `can't be checked: its schema ${compiled}`;
    const verdict = compiled.check(value);
    if (verdict.kind === "valid") return null;
    return verdict.kind === "invalid"
      ? verdict.problem
      : `can't be checked: its schema ${verdict.problem}`;
  }

  function readOutput(server: string, tool: Tool, result: CallToolResult): Outcome<ToolResult> {
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
    return ok({ server, ...readResult(result) });
  }

  const byName = new Map(servers.map((server) => [server.name, server]));
  /** Tools that a target was found to mean. */
  const open = new WeakSet<Tool>();

  /** The same as {@link findTarget} for a tool that was found before, as long as its server stands and lists it. */
  function standing({ server: owner, name, digest }: ToolTarget) {
    const server = byName.get(owner);
    const tool = server?.current?.get(name);
    if (server === undefined || tool === undefined || !open.has(tool)) return null;
    return toolDigest(tool) === digest ? ok({ server, tool }) : null;
  }

  /** The tool that was judged, or nothing: not one that has taken its place since. */
  async function findTarget(
    { server: owner, name, digest }: ToolTarget,
    signal: AbortSignal,
  ): Promise<Outcome<FoundTool<ToolSet<ServerConnection>>>> {
    const server = servers.find((known) => known.name === owner);
    const what = `tool "${name}" of MCP server "${owner}"`;
    if (server === undefined || isShadowed(sources, owner, name)) {
      return fail(terminal("not_found", `there is no ${what} here`));
    }
    const tools = await server.tools(signal);
    if (!tools.ok) return tools;
    const tool = tools.value.get(name);
    if (tool === undefined) {
      const disabled = server.disabled(name);
      return fail(
        disabled === null
          ? terminal("not_found", `there is no ${what} any more`)
          : terminal("invalid_input", `${what} can't be used: ${disabled}`),
      );
    }
    if (toolDigest(tool) === digest) {
      open.add(tool);
      return ok({ server, tool });
    }
    const changed = `${what} has another description, schema or annotations than the one that was allowed`;
    return fail(terminal("policy_denied", `${changed}: nothing was sent`));
  }

  return {
    list: (signal) => listTools(sources, log, signal),
    async describe(name, signal) {
      const found = await findTool(sources, name, signal);
      if (!found.ok) return fail(disabledBy(servers, name) ?? found.failure);
      return ok(describeTool(name, found.value.server.name, found.value.tool));
    },
    async call(target, input, signal, idempotencyKey, answers) {
      const found = standing(target) ?? (await findTarget(target, signal));
      if (!found.ok) return found;
      const { server, tool } = found.value;
      const about = { server: server.name, tool: tool.name };
      const problem = problemOf(tool.inputSchema, input, about);
      if (problem !== null) {
        return fail(terminal("invalid_input", `input of tool "${tool.name}": ${problem}`));
      }
      const called = await server.listed.call(
        tool,
        {
          name: tool.name,
          arguments: input,
          ...meta(idempotencyKey),
          ...(answers === undefined ? {} : continuation(answers)),
        },
        isSafeToRepeat(tool),
        signal,
      );
      if (!called.ok) return called;
      if (!isInputRequiredResult(called.value)) return readOutput(server.name, tool, called.value);
      const asks = readQuestions(called.value);
      if (typeof asks !== "string") return ok({ server: server.name, content: null, asks });
      const said = `tool "${tool.name}" of MCP server "${server.name}" ${asks}`;
      return fail(terminal("tool_failed", said));
    },
    states: () =>
      Object.fromEntries(
        servers.map(({ name, listed, isQuarantined }) => [
          name,
          isQuarantined && listed.state === "ready" ? "quarantined" : listed.state,
        ]),
      ),
    async close() {
      await Promise.all(servers.map((server) => server.listed.close()));
    },
    look: (signal, atStart = false) =>
      Promise.all(
        servers.map(async (server, at) => ({
          name: server.name,
          found:
            atStart && options.servers[at]?.start === "lazy" ? null : await server.look(signal),
          isShadowed: (tool: string) => isShadowed(sources, server.name, tool),
          address: (tool: string) => addressOf(sources, server.name, tool),
        })),
      ),
  };
}

/** Why the tool that a name means is not there, where it is only disabled. */
function disabledBy(servers: readonly ToolSet<ServerConnection>[], name: string): Failure | null {
  const named = serverOf(servers, name);
  const places =
    named === null
      ? servers.map((server) => ({ server, tool: name }))
      : [{ server: named, tool: name.slice(named.name.length + 1) }];
  for (const { server, tool } of places) {
    const problem = server.disabled(tool);
    if (problem === null) continue;
    const what = `tool "${tool}" of MCP server "${server.name}"`;
    return terminal("invalid_input", `${what} can't be used: ${problem}`);
  }
  return null;
}

/** A yes to each question, with what was said; and the state, untouched. */
const continuation = ({ state, answers }: ToolAnswers) => ({
  inputResponses: Object.fromEntries(
    Object.entries(answers).map(([key, content]) => [key, { action: "accept" as const, content }]),
  ),
  ...(state === null ? {} : { requestState: state }),
});

/**
 * `_meta` is MCP's place for what is not the tool's business; its keys carry their owner's prefix. A trace's own keys are
 * W3C's, as MCP reserves them; its baggage may say what is nobody else's business, and stays here.
 */
function meta(idempotencyKey: string | undefined): { _meta?: Record<string, string> } {
  const key = "stateplane/idempotency-key";
  const active = context.active();
  if (trace.getSpanContext(active) === undefined) {
    return idempotencyKey === undefined ? {} : { _meta: { [key]: idempotencyKey } };
  }
  const carrier: Record<string, string> = {};
  propagation.inject(active, carrier);
  const { traceparent, tracestate } = carrier;
  if (idempotencyKey === undefined && traceparent === undefined) return {};
  return {
    _meta: {
      ...(idempotencyKey === undefined ? {} : { [key]: idempotencyKey }),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...(tracestate === undefined ? {} : { tracestate }),
    },
  };
}
