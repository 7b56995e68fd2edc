import type { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { ListToolsResultSchema } from "@modelcontextprotocol/sdk/types.js";
import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import { noTimeout } from "./no-timeout.ts";

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
