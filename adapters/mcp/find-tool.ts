import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import { terminal } from "../../machines/contracts/failure.ts";
import type { Failure } from "../../machines/contracts/failure.ts";
import { fail, ok } from "../../machines/contracts/outcome.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import type { ServerConnection } from "./server-connection.ts";

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
