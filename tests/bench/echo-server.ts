/** An MCP server for `npm run bench -- mcp`: `echo`, and `cancellations`, how many it was told of. */
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";

const inputSchema = {
  type: "object" as const,
  properties: { message: { type: "string" as const } },
  additionalProperties: false,
};
const annotations = { readOnlyHint: true };
let cancellations = 0;

const server = new Server({ name: "echo", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: ["echo", "cancellations"].map((name) => ({ name, inputSchema, annotations })),
}));
server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
  const text =
    params.name === "echo" ? String(params.arguments?.["message"]) : String(cancellations);
  return { content: [{ type: "text", text }] };
});
const transport = new StdioServerTransport();
await server.connect(transport);
const deliver = transport.onmessage;
const onmessage: typeof deliver = (message) => {
  if ("method" in message && message.method === "notifications/cancelled") cancellations += 1;
  deliver?.(message);
};
Object.assign(transport, { onmessage });
