import { createServer, type ServerResponse } from "node:http";
import { expect, onTestFinished, test, vi } from "vitest";
import { Traffic } from "../../adapters/mcp/unasked.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { failure } from "../support/failure.ts";
import { listen } from "../support/listen.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();
const event = (fields: object): string =>
  `data: ${JSON.stringify({ jsonrpc: "2.0", ...fields })}\n\n`;
const message = (length: number): string =>
  event({ method: "notifications/message", params: { level: "info", data: "x".repeat(length) } });

/** A server of the handshake whose stream of its own, or whose answer to a call, is `stream`'s to write. */
async function serveStreams(which: "GET" | "call", stream: (response: ServerResponse) => void) {
  const seen: number[] = [];
  const begin = (response: ServerResponse): void => {
    seen.push(performance.now());
    response.writeHead(200, { "content-type": "text/event-stream" });
    stream(response);
  };
  const http = createServer((request, response) => {
    void (async () => {
      let body = "";
      for await (const chunk of request) body += String(chunk);
      if (request.method === "GET" && which === "GET") return begin(response);
      if (request.method !== "POST") return void response.writeHead(405).end();
      const { id, method, params } = JSON.parse(body) as JsonObject & { params?: JsonObject };
      if (id === undefined) return void response.writeHead(202).end();
      const tools = [
        { name: "read", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } },
      ];
      const results: Record<string, object> = {
        initialize: {
          protocolVersion: params?.["protocolVersion"],
          capabilities: { tools: {} },
          serverInfo: { name: "broken", version: "1" },
        },
        "tools/list": { tools },
      };
      if (method === "tools/call") return begin(response);
      const result = results[String(method)];
      const answer =
        result === undefined ? { error: { code: -32_601, message: "no" } } : { result };
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify({ jsonrpc: "2.0", id, ...answer }));
    })();
  });
  const port = await listen(http);
  const host = hostOf([{ name: "web", url: `http://127.0.0.1:${port}/mcp`, transport: "http" }]);
  return {
    host,
    seen,
    async stop() {
      await host.close();
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** However little of a flood is read in a second here, because the machine has other work: no second goes by. */
function stopClock(): void {
  const clock = vi.spyOn(performance, "now").mockReturnValue(performance.now());
  onTestFinished(() => clock.mockRestore());
}

test.each([
  [
    "answers to nothing, without end,",
    (response: ServerResponse) => {
      const write = (): void => {
        const text = event({ id: 999_000, result: { text: "x".repeat(500_000) } });
        while (!response.destroyed && response.write(text));
        if (!response.destroyed) response.once("drain", write);
      };
      write();
    },
  ],
  [
    "streams that each stay below what is too much, one after the other,",
    (response: ServerResponse) =>
      void response.end(`id: 9\nretry: 0\ndata: \n\n${message(100_000).repeat(150)}`),
  ],
])("a server that sends %s over HTTP is given up [mcp.noise]", async (_, stream) => {
  stopClock();
  const { host, stop } = await serveStreams("GET", stream);
  value(await host.describe("read", never));
  await expect.poll(() => host.states()["web"], { timeout: 60_000 }).not.toBe("ready");
  await stop();
});

test("a flood over HTTP that ends is told as a flood [mcp.noise]", async () => {
  stopClock();
  const flood = message(1_000_000).repeat(30);
  const { host, stop } = await serveStreams("call", (response) => void response.end(flood));
  const failed = failure(await callTool(host, "read", {}, never));
  expect(failed).toMatchObject({ kind: "unavailable", retryable: true });
  expect(failed.message).toContain("nobody asked for");
  await stop();
});

test("streams that bring nothing are opened again ever more slowly, whatever the server says [mcp.noise]", async () => {
  const { host, seen, stop } = await serveStreams(
    "GET",
    (response) => void response.end("id: 1\nretry: 0\ndata: \n\n"),
  );
  value(await host.describe("read", never));
  await expect.poll(() => seen.length, { timeout: 20_000 }).toBeGreaterThanOrEqual(3);
  expect((seen[2] ?? 0) - (seen[0] ?? 0)).toBeGreaterThanOrEqual(700);
  await stop();
  const traffic = new Traffic(() => undefined);
  const pauses = Array.from({ length: 30 }, () => traffic.pauseMs(0));
  expect(pauses.slice(0, 3)).toEqual([250, 500, 1_000]);
  expect(pauses.at(-1)).toBe(60_000);
  traffic.brought();
  expect(traffic.pauseMs(400)).toBe(400);
});
