import { createServer } from "node:http";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { listen } from "./listen.ts";

export interface WebMcpServer {
  url: string;
  port: number;
  /** Drops every session, as a restart would. */
  forget(): void;
  /** From now on tool calls are answered with this status, which leaves open whether they ran. */
  failCalls(status: number): void;
  /** Sessions that were ever opened. */
  sessions(): number;
  /** Calls of a tool that were run. */
  calls(tool: string): number;
  /** Whoever has no token is told to ask this authorization server for one. */
  authorizedBy(issuer: string): void;
  stop(): Promise<void>;
}

/** An MCP server over streamable HTTP that wants the bearer token `token`; two tools, `greet` is safe to repeat. */
export async function serveMcp(port = 0): Promise<WebMcpServer> {
  const transports = new Map<string, StreamableHTTPServerTransport>();
  let failing: number | null = null;
  let issuer: string | null = null;
  let opened = 0;
  const called: string[] = [];
  const http = createServer((request, response) => {
    void (async () => {
      if (failing !== null && request.method === "POST") {
        const chunks: Buffer[] = [];
        for await (const chunk of request) chunks.push(chunk as Buffer);
        response.writeHead(failing).end();
        return;
      }
      if (request.headers.authorization !== "Bearer token") {
        const here = `http://${request.headers.host}`;
        if (issuer !== null && request.url?.startsWith("/.well-known/oauth-protected") === true) {
          response.writeHead(200, { "content-type": "application/json" });
          response.end(
            JSON.stringify({ resource: `${here}/mcp`, authorization_servers: [issuer] }),
          );
          return;
        }
        response.writeHead(401).end();
        return;
      }
      const id = request.headers["mcp-session-id"];
      let transport = transports.get(String(id));
      if (transport === undefined && id !== undefined) {
        const error = { code: -32_001, message: "Session not found" };
        response.writeHead(404).end(JSON.stringify({ jsonrpc: "2.0", error, id: null }));
        return;
      }
      if (transport === undefined) {
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => crypto.randomUUID(),
          onsessioninitialized: (session) => {
            opened += 1;
            if (transport !== undefined) transports.set(session, transport);
          },
        });
        const server = new Server({ name: "web", version: "1" }, { capabilities: { tools: {} } });
        server.setRequestHandler(ListToolsRequestSchema, () => ({
          tools: [
            { name: "greet", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } },
            { name: "give", inputSchema: { type: "object" } },
          ],
        }));
        server.setRequestHandler(CallToolRequestSchema, ({ params }) => {
          called.push(params.name);
          return { content: [{ type: "text", text: "good day" }] };
        });
        await server.connect(transport as Transport);
      }
      await transport.handleRequest(request, response);
    })();
  });
  const heard = await listen(http, port);
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      http.close(() => resolve());
      http.closeAllConnections();
    });
  return {
    url: `http://127.0.0.1:${heard}/mcp`,
    port: heard,
    forget: () => transports.clear(),
    failCalls: (status) => (failing = status),
    sessions: () => opened,
    calls: (tool) => called.filter((name) => name === tool).length,
    authorizedBy: (by) => (issuer = by),
    stop,
  };
}
