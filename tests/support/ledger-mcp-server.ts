import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { Ledger } from "../chaos/ledger.ts";

/**
 * A real MCP server over stdio whose tools are lines in the ledger at `LEDGER`: `put`, idempotent, and `post`,
 * of which nothing is promised. Each takes `LEDGER_MS` milliseconds to answer.
 */
const ledger = new Ledger(process.env["LEDGER"] ?? "");
const takes = Number(process.env["LEDGER_MS"] ?? 0);
const inputSchema = { type: "object" } as const;

const server = new Server({ name: "ledger", version: "1" }, { capabilities: { tools: {} } });
server.setRequestHandler(ListToolsRequestSchema, () => ({
  tools: [
    { name: "put", inputSchema, annotations: { idempotentHint: true } },
    { name: "post", inputSchema },
  ],
}));
server.setRequestHandler(CallToolRequestSchema, async ({ params }) => {
  const { name: effect, arguments: input } = params;
  const repeat = effect === "put" ? "safe" : "unsafe";
  const order = String(input?.["order"]);
  const { pid } = process;
  ledger.add({ kind: "touch", order, effect, repeat, idempotencyKey: null, pid, at: Date.now() });
  await sleep(takes);
  return { content: [{ type: "text", text: order }] };
});
await server.connect(new StdioServerTransport());
