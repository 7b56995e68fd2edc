import { ok } from "../../machines/contracts/outcome.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import type { Log } from "../../machines/contracts/ports/log.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";
import { describeTool } from "./describe-tool.ts";
import type { ServerConnection } from "./server-connection.ts";

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
