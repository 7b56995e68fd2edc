import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import type { Tool } from "@modelcontextprotocol/client";
import {
  terminal,
  type Failure,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/** What resolving a name needs of a server. */
export interface ToolSource {
  readonly name: string;
  /** True when the last attempt to reach it failed. */
  readonly down: boolean;
  /** The names of its tools when it was last asked. */
  readonly lastTools: ReadonlySet<string>;
  tools(signal: AbortSignal): Promise<Outcome<Map<string, Tool>>>;
}

/**
 * A server that is configured and disabled: without any tool, and still the one that its name speaks of. Otherwise another
 * server's tool of that spelling would pass the lists that were written for it.
 */
export const disabledSource = (name: string): ToolSource => ({
  name,
  down: false,
  lastTools: new Set(),
  tools: async () => ok(new Map()),
});

export interface FoundTool<S extends ToolSource> {
  server: S;
  tool: Tool;
}

/**
 * The configured server that a name with a slash speaks of: the longest one that the name begins with. Of servers `a` and
 * `a/b`, `a/b/c` speaks of `a/b` alone, whatever tools either has.
 */
export function serverOf<S extends Pick<ToolSource, "name">>(
  servers: readonly S[],
  name: string,
): S | null {
  const named = servers.filter((server) => name.startsWith(`${server.name}/`));
  return named.reduce<S | null>(
    (longest, server) =>
      longest === null || server.name.length > longest.name.length ? server : longest,
    null,
  );
}

/**
 * Whether a tool's own name makes it look like another server's: `b/c` on server `a` beside a server `b` or `a/b`.
 * Such a tool is neither listed nor called. Otherwise a server could slip one of its tools past a list that
 * speaks of the other, only by the name it gives it.
 */
export function isShadowed(
  servers: readonly Pick<ToolSource, "name">[],
  server: string,
  tool: string,
): boolean {
  const bare = serverOf(servers, tool);
  const qualified = serverOf(servers, `${server}/${tool}`);
  return (bare !== null && bare.name !== server) || qualified?.name !== server;
}

/**
 * The one tool that a name means. A name that begins with a configured server's ({@link serverOf}) is asked of that
 * server alone: first the rest of the name, then, for tools that carry their own server's name, the whole. Any
 * other is asked of every server, those whose last connect failed only when the others don't have it, so that one
 * dead server slows nobody down; but what such a server had when it was last heard still counts against an
 * ambiguous name, and so does what one has that is quarantined, or whose schema can't be used. A server whose list is
 * known, and may not be used, is no reason to wait for a name that is not in it.
 */
export async function findTool<S extends ToolSource>(
  servers: readonly S[],
  name: string,
  signal: AbortSignal,
): Promise<Outcome<FoundTool<S>>> {
  const named = serverOf(servers, name);
  if (named !== null) return findOn(servers, named, name, signal);
  const down = servers.filter((server) => server.down);
  const up = servers.filter((server) => !server.down);
  const among = await search(servers, up, name, signal);
  if (signal.aborted) return fail(among.failures[0] ?? cutShort(name));
  const rest =
    among.found.length > 0
      ? { found: [], failures: [] }
      : await search(servers, down, name, signal);
  const found = [...among.found, ...rest.found];
  if (found.length > 0) return only(servers, name, found);
  const failure = among.failures[0] ?? rest.failures[0];
  return fail(failure ?? terminal("not_found", `no MCP server has a tool "${name}"`));
}

async function findOn<S extends ToolSource>(
  servers: readonly S[],
  server: S,
  name: string,
  signal: AbortSignal,
): Promise<Outcome<FoundTool<S>>> {
  const tools = await server.tools(signal);
  const spellings = [name.slice(server.name.length + 1), name];
  if (!tools.ok && (signal.aborted || spellings.some((bare) => mayHave(servers, server, bare)))) {
    return tools;
  }
  for (const bare of spellings) {
    const tool = tools.ok ? tools.value.get(bare) : undefined;
    if (tool !== undefined && !isShadowed(servers, server.name, bare)) return ok({ server, tool });
  }
  return fail(terminal("not_found", `MCP server "${server.name}" has no tool for "${name}"`));
}

/** Whether a server that gave no tools may have this one: it is down, or its list has the name and may not be used. */
const mayHave = (servers: readonly ToolSource[], server: ToolSource, name: string): boolean =>
  !isShadowed(servers, server.name, name) && (server.down || server.lastTools.has(name));

interface Findings<S extends ToolSource> {
  found: FoundTool<S>[];
  failures: Failure[];
}

async function search<S extends ToolSource>(
  all: readonly S[],
  servers: readonly S[],
  name: string,
  signal: AbortSignal,
): Promise<Findings<S>> {
  const findings: Findings<S> = { found: [], failures: [] };
  await Promise.all(
    servers.map(async (server) => {
      const tools = await server.tools(signal);
      if (!tools.ok) {
        const isReason = signal.aborted || mayHave(all, server, name);
        if (isReason) findings.failures.push(tools.failure);
        return;
      }
      const tool = tools.value.get(name);
      if (tool !== undefined && !isShadowed(all, server.name, name)) {
        findings.found.push({ server, tool });
      }
    }),
  );
  return findings;
}

/** The one that was found, unless another server has the name too, whether or not it may be used there now. */
function only<S extends ToolSource>(
  servers: readonly S[],
  name: string,
  found: FoundTool<S>[],
): Outcome<FoundTool<S>> {
  const having = servers.filter(
    (server) => server.lastTools.has(name) && !isShadowed(servers, server.name, name),
  );
  const owners = [
    ...new Set([...found.map(({ server }) => server), ...having].map((server) => server.name)),
  ];
  const [one] = found;
  if (one !== undefined && owners.length === 1) return ok(one);
  const said = owners.sort().map((owner) => `"${owner}"`);
  return fail(
    terminal(
      "conflict",
      `tool "${name}" is on more than one MCP server (${said.join(", ")}): call it as server/tool`,
    ),
  );
}

function cutShort(name: string): Failure {
  return terminal("cancelled", `looking for tool "${name}" was cut short`);
}

/**
 * The tools of every server that answers, each with an address that means it alone: `server/tool` where two
 * servers have the bare name. Tools that look like another server's are left out. A server that doesn't answer is logged, and fails the list only when none does.
 */
export async function listTools(
  servers: readonly ToolSource[],
  log: Log,
  signal: AbortSignal,
): Promise<Outcome<ToolDescription[]>> {
  const listings = await Promise.all(
    servers.map(async (server) => ({ server, listing: await server.tools(signal) })),
  );
  const failures = listings.flatMap(({ listing }) => (listing.ok ? [] : [listing]));
  const [first] = failures;
  if (first !== undefined && (signal.aborted || failures.length === servers.length)) return first;
  for (const { failure } of failures) {
    log.warn({ problem: failure.message }, "listing tools without one MCP server");
  }
  const tools = listings.flatMap(({ server, listing }) =>
    listing.ok ? [...listing.value.values()].map((tool) => ({ server, tool })) : [],
  );
  const [shadowed, open] = [true, false].map((is) =>
    tools.filter(({ server, tool }) => isShadowed(servers, server.name, tool.name) === is),
  );
  for (const { server, tool } of shadowed ?? []) {
    const about = { server: server.name, tool: tool.name };
    log.warn(about, "MCP tool left out: its name reads as a tool of another configured server");
  }
  return ok(
    (open ?? []).map(({ server, tool }) =>
      describeTool(addressOf(servers, server.name, tool.name), server.name, tool),
    ),
  );
}

/** The name that means a tool alone: its bare one where no other server has that. */
export function addressOf(servers: readonly ToolSource[], server: string, tool: string): string {
  const owners = servers.filter(({ lastTools }) => lastTools.has(tool));
  // A bare name that begins with its own server's would be read as `server/tool`.
  return owners.length > 1 || serverOf(servers, tool) !== null ? `${server}/${tool}` : tool;
}

/** Whether calling the tool twice does no more than calling it once, by its server's word; silence means no. */
export function isSafeToRepeat(tool: Tool): boolean {
  return tool.annotations?.readOnlyHint === true || tool.annotations?.idempotentHint === true;
}

const digests = new WeakMap<Tool, string>();

/**
 * Hex SHA-256 of all that decides how a tool is called, judged and understood: by its description a model chose it, and
 * a person said yes to it.
 */
export function toolDigest(tool: Tool): string {
  const known = digests.get(tool);
  if (known !== undefined) return known;
  const { title = null, description = null } = tool;
  const { inputSchema, outputSchema = null, annotations = null } = tool;
  const defined = { title, description, inputSchema, outputSchema, annotations };
  const canonical = stringify(defined) ?? "";
  const digest = createHash("sha256").update(canonical).digest("hex");
  digests.set(tool, digest);
  return digest;
}

export function describeTool(address: string, server: string, tool: Tool): ToolDescription {
  return {
    name: tool.name,
    server,
    digest: toolDigest(tool),
    address,
    description: tool.description ?? tool.title ?? tool.annotations?.title ?? "",
    inputSchema: tool.inputSchema as JsonObject,
    outputSchema: (tool.outputSchema as JsonObject | undefined) ?? null,
    safeToRepeat: isSafeToRepeat(tool),
    readOnly: tool.annotations?.readOnlyHint === true,
  };
}
