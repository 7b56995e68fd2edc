import { type Tool, ListToolsResultSchema } from "@modelcontextprotocol/sdk/types.js";
import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import {
  terminal,
  type Failure,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import type { ServerConnection } from "./server-connection.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";
import { noTimeout } from "./connect.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

export interface FoundTool {
  server: ServerConnection;
  tool: Tool;
}

/**
 * The one tool that a name means. `server.tool` asks that server alone. A bare name asks every server, those
 * whose last connect failed only when the others don't have it, so that one dead server slows nobody down;
 * but what such a server had when it was last heard still counts against an ambiguous name.
 */
export async function findTool(
  servers: ServerConnection[],
  name: string,
  signal: AbortSignal,
): Promise<Outcome<FoundTool>> {
  const prefixed = servers.filter((server) => name.startsWith(`${server.name}.`));
  const qualified = await search(prefixed, (server) => name.slice(server.name.length + 1), signal);
  const [failed] = qualified.failures;
  if (failed !== undefined) return fail(failed);
  if (qualified.found.length > 0) return only(name, qualified.found, []);

  const bare = (): string => name;
  const down = servers.filter((server) => server.down);
  const up = servers.filter((server) => !server.down);
  const among = await search(up, bare, signal);
  if (signal.aborted) return fail(among.failures[0] ?? cutShort(name));
  if (among.found.length > 0) {
    const silent = [...down, ...up.filter((server) => server.down)];
    return only(
      name,
      among.found,
      silent.filter((server) => server.lastTools.has(name)),
    );
  }
  const rest = await search(down, bare, signal);
  if (rest.found.length > 0) return only(name, rest.found, []);
  const failure = among.failures[0] ?? rest.failures[0];
  return fail(failure ?? terminal("not_found", `no MCP server has a tool "${name}"`));
}

interface Findings {
  found: FoundTool[];
  failures: Failure[];
}

async function search(
  servers: ServerConnection[],
  toolName: (server: ServerConnection) => string,
  signal: AbortSignal,
): Promise<Findings> {
  const findings: Findings = { found: [], failures: [] };
  await Promise.all(
    servers.map(async (server) => {
      const tools = await server.tools(signal);
      if (!tools.ok) {
        findings.failures.push(tools.failure);
        return;
      }
      const tool = tools.value.get(toolName(server));
      if (tool !== undefined) findings.found.push({ server, tool });
    }),
  );
  return findings;
}

function only(name: string, found: FoundTool[], others: ServerConnection[]): Outcome<FoundTool> {
  const owners = [...found.map(({ server }) => server), ...others].map((server) => server.name);
  const [one] = found;
  if (one !== undefined && owners.length === 1) return ok(one);
  const said = owners.sort().map((owner) => `"${owner}"`);
  return fail(
    terminal(
      "conflict",
      `tool "${name}" is on more than one MCP server (${said.join(", ")}): call it as server.tool`,
    ),
  );
}

function cutShort(name: string): Failure {
  return terminal("cancelled", `looking for tool "${name}" was cut short`);
}

/**
 * The tools of every server that answers, each under a name that means it alone: `server.tool` where two
 * servers have the bare one. A server that doesn't answer is logged, and fails the list only when none does.
 */
export async function listTools(
  servers: ServerConnection[],
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
  const owners = new Map<string, number>();
  for (const server of servers) {
    for (const name of server.lastTools) owners.set(name, (owners.get(name) ?? 0) + 1);
  }
  const nameOf = (server: string, tool: string): string =>
    (owners.get(tool) ?? 0) > 1 ? `${server}.${tool}` : tool;
  return ok(
    listings.flatMap(({ server, listing }) =>
      listing.ok
        ? [...listing.value.values()].map((tool) =>
            describeTool(nameOf(server.name, tool.name), server.name, tool),
          )
        : [],
    ),
  );
}

/**
 * All tools of a server, page by page, the first of any name that is given twice. Not the SDK's `listTools`:
 * that forgets the output schemas of earlier pages, and one schema that does not compile fails the whole list.
 *
 * @throws the SDK's errors, and the signal's reason
 */
export async function readTools(client: Client, signal: AbortSignal): Promise<Map<string, Tool>> {
  const tools = new Map<string, Tool>();
  if (client.getServerCapabilities()?.tools === undefined) return tools;
  const seen = new Set<string>();
  let cursor: string | undefined;
  do {
    const page = await client.request(
      { method: "tools/list", params: cursor === undefined ? {} : { cursor } },
      ListToolsResultSchema,
      { signal, timeout: noTimeout },
    );
    for (const tool of page.tools) if (!tools.has(tool.name)) tools.set(tool.name, tool);
    cursor = page.nextCursor;
    if (cursor !== undefined && seen.has(cursor)) throw new Error("tools/list goes in a circle");
    if (cursor !== undefined) seen.add(cursor);
  } while (cursor !== undefined);
  return tools;
}

/** Whether calling the tool twice does no more than calling it once, by its server's word; silence means no. */
export function isSafeToRepeat(tool: Tool): boolean {
  return tool.annotations?.readOnlyHint === true || tool.annotations?.idempotentHint === true;
}

/** @param name - the name under which the tool is called: bare, or `server.tool` */
export function describeTool(name: string, server: string, tool: Tool): ToolDescription {
  return {
    name,
    server,
    description: tool.description ?? tool.title ?? tool.annotations?.title ?? "",
    inputSchema: tool.inputSchema as JsonObject,
    outputSchema: (tool.outputSchema as JsonObject | undefined) ?? null,
    safeToRepeat: isSafeToRepeat(tool),
    readOnly: tool.annotations?.readOnlyHint === true,
  };
}
