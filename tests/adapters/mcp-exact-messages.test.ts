import { createServer, type ServerResponse } from "node:http";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { failure } from "../support/failure.ts";
import { listen } from "../support/listen.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();

type How = "as JSON" | "as an event" | "as an event of many lines";

/** An MCP server over HTTP that lists these tools and answers each call with this result, in one way or another. */
async function serveRaw(how: How, tools: string, result: string) {
  const send = (response: ServerResponse, id: unknown, text: string) => {
    const parts = ['{"jsonrpc":"2.0",', `"id":${JSON.stringify(id)},`, '"result":', text, "}"];
    const message = parts.join("");
    const isEvent = how !== "as JSON";
    response.writeHead(200, { "content-type": isEvent ? "text/event-stream" : "application/json" });
    const lines = how === "as an event of many lines" ? parts : [message];
    response.end(
      isEvent ? `event: message\n${lines.map((l) => `data: ${l}\n`).join("")}\n` : message,
    );
  };
  const http = createServer((request, response) => {
    void (async () => {
      let body = "";
      for await (const chunk of request) body += String(chunk);
      if (request.method !== "POST") return void response.writeHead(405).end();
      const { id, method, params } = JSON.parse(body) as JsonObject & { params?: JsonObject };
      if (id === undefined) return void response.writeHead(202).end();
      const { protocolVersion = "" } = params ?? {};
      const about = {
        protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: "raw", version: "1" },
      };
      if (method === "initialize") return send(response, id, JSON.stringify(about));
      if (method === "tools/list") return send(response, id, `{"tools":${tools}}`);
      return send(response, id, method === "tools/call" ? result : "{}");
    })();
  });
  const port = await listen(http, 0);
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    async stop() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

const pay = '{"name":"pay","inputSchema":{"type":"object"}}';
const deep = `${"[".repeat(20_000)}${"]".repeat(20_000)}`;
const hows: How[] = ["as JSON", "as an event", "as an event of many lines"];

describe.each(hows)("what an HTTP server sends %s", (how) => {
  test.each([
    ["a number that a double can't hold", "9007199254740993"],
    ["20,000 levels", deep],
  ])("is refused with %s in it, and never changed [mcp.exact]", async (_, content) => {
    const result = `{"content":[],"structuredContent":{"account":${content}}}`;
    const server = await serveRaw(how, `[${pay}]`, result);
    const host = hostOf([{ name: "bank", url: server.url }]);
    expect(failure(await callTool(host, "pay", {}, never))).toMatchObject({
      kind: "tool_failed",
      retryable: false,
    });
    await server.stop();
  });

  test("arrives as it was, whatever it is", async () => {
    let result = "";
    await fc.assert(
      fc.asyncProperty(fc.jsonValue({ maxDepth: 4 }), async (any) => {
        const sent = { content: [], structuredContent: { any } };
        result = JSON.stringify(sent);
        const server = await serveRaw(how, `[${pay}]`, result);
        const host = hostOf([{ name: "bank", url: server.url }]);
        const { content } = value(await callTool(host, "pay", {}, never));
        expect(content).toEqual(JSON.parse(JSON.stringify({ any })));
        await host.close();
        await server.stop();
      }),
      { numRuns: 10 },
    );
  });

  test.each([
    [
      "a number that a double can't hold",
      '{"type":"object","properties":{"n":{"maximum":9223372036854775807}}}',
    ],
    ["20,000 levels", `{"type":"object","default":${deep}}`],
  ])("leaves out one tool with %s, and no other [mcp.apart]", async (_, schema) => {
    const tools = `[${pay},{"name":"odd","inputSchema":${schema}}]`;
    const server = await serveRaw(how, tools, '{"content":[{"type":"text","text":"paid"}]}');
    const host = hostOf([{ name: "bank", url: server.url }]);
    expect(value(await host.list(never)).map(({ name }) => name)).toEqual(["pay"]);
    expect(value(await callTool(host, "pay", {}, never)).content).toBe("paid");
    expect(failure(await host.describe("odd", never))).toMatchObject({
      kind: "invalid_input",
      message: expect.stringContaining('tool "odd" of MCP server "bank" can\'t be used: '),
    });
    await server.stop();
  });
});
