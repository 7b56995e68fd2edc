import type { Tool } from "@modelcontextprotocol/sdk/types.js";
import type { JsonObject } from "../../machines/contracts/json.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";

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
