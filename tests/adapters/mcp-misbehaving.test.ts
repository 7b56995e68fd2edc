import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { McpServer } from "../../adapters/mcp/config.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { callTool } from "../support/call-tool.ts";
import { longestTurn } from "../support/cpu-time.ts";
import { failure } from "../support/failure.ts";
import { listen } from "../support/listen.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();
const folder = useTemporaryFolder();
const script = fileURLToPath(new URL("../support/raw-mcp-server.ts", import.meta.url));
const raw = (env: Record<string, string> = {}): McpServer => ({
  name: "raw",
  command: process.execPath,
  args: [script],
  env: { NODE_NO_WARNINGS: "1", ...env },
});

/** What no server should write: words, halves of messages, answers to nobody, requests that nobody may make. */
const strangeId = fc.oneof(fc.integer({ max: -1 }), fc.string(), fc.constant(null), fc.object());
const message = fc
  .record(
    {
      jsonrpc: fc.constantFrom("2.0", "1.0", 2),
      id: strangeId,
      method: fc.constantFrom(
        "sampling/createMessage",
        "roots/list",
        "elicitation/create",
        "notifications/progress",
        "notifications/cancelled",
        "notifications/message",
        "ping",
        "constructor",
        "__proto__",
      ),
      params: fc.oneof(
        fc.object(),
        fc.constant({ progressToken: 1, progress: 5 }),
        fc.array(fc.integer()),
      ),
      result: fc.object(),
      error: fc.record({ code: fc.integer(), message: fc.string() }),
    },
    { requiredKeys: ["jsonrpc"] },
  )
  .map((any) => JSON.stringify(any));
const line = fc
  .oneof(
    fc.string(),
    message,
    message.map((text) => text.slice(0, -2)),
    fc.json(),
  )
  .map((text) => text.replaceAll(/[\r\n]/gu, " "));

const say = (fields: object): string => JSON.stringify({ jsonrpc: "2.0", ...fields });

describe("a server that misbehaves over its standard streams", () => {
  test("may write anything between its answers: each call has its own answer [mcp.noise]", async () => {
    const host = hostOf([raw()]);
    const tool = value(await host.describe("noisy", never));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), async (noise) => {
        const result = value(await host.call(tool, { noise }, never));
        expect(result.content).toBe("after the noise");
      }),
      { numRuns: 60 },
    );
  });

  test("is refused what it asks of a model, of our folders and of a person [mcp.refused-asks]", async () => {
    const seen = join(folder, "asked");
    const host = hostOf([raw({ RAW_SEEN: seen })]);
    const methods = ["sampling/createMessage", "roots/list", "elicitation/create"];
    const noise = methods.map((method, at) =>
      JSON.stringify({ jsonrpc: "2.0", id: `theirs-${at}`, method, params: {} }),
    );
    value(await callTool(host, "noisy", { noise }, never));
    const answers = async () =>
      (await readFile(seen, "utf8"))
        .split("\n")
        .filter((text) => text.includes("theirs-"))
        .filter((text) => !text.includes('"tools/call"'))
        .map((text) => JSON.parse(text) as { error?: { code: number }; result?: unknown });
    await expect.poll(async () => (await answers()).length).toBe(3);
    for (const { error, result } of await answers()) {
      expect(result).toBeUndefined();
      expect(error?.code).toBe(-32_601);
    }
  });

  test("that writes without a line end is ended before it fills our memory, and started again [mcp.bounds]", async () => {
    const host = hostOf([raw()]);
    value(await host.list(never));
    const before = process.memoryUsage().rss;
    const flooded = failure(await callTool(host, "flood", {}, never));
    expect(flooded).toMatchObject({ kind: "unavailable", retryable: true });
    expect(flooded.message).toContain("more than");
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024);
    await expect.poll(async () => (await callTool(host, "fine", {}, never)).ok).toBe(true);
  });

  test("that answers late answers nobody else's call [mcp.late]", async () => {
    const host = hostOf([{ ...raw(), toolLimits: { late: { timeoutMs: 700 } } }]);
    value(await host.list(never));
    expect(failure(await callTool(host, "late", { afterMs: 2_500 }, never)).kind).toBe("timeout");
    // This one is under way for three seconds, and the answer to the first comes meanwhile.
    expect(value(await callTool(host, "works", { times: 12 }, never)).content).toBe("done");
  });

  // Quickly read for its length, so that a reader with little of a processor still reads more in a second than is allowed.
  const deep = say({ id: 1, result: "DEEP", long: "z".repeat(90_000) }).replace(
    '"DEEP"',
    "[".repeat(5_000) + "]".repeat(5_000),
  );
  test.each([
    ["words", { line: "x" }],
    ["empty lines", { line: "" }],
    ["changes of its list", { line: say({ method: "notifications/tools/list_changed" }) }],
    [
      "progress",
      {
        line: say({ method: "notifications/progress", params: { progressToken: 1, progress: 1 } }),
      },
    ],
    ["requests", { line: say({ id: 1, method: "roots/list" }) }],
    [
      "requests, and reads no answer,",
      { line: say({ id: 1, method: "roots/list" }), isDeaf: true },
    ],
    ["answers to nothing", { line: say({ id: "x", result: {} }) }],
    ["deep answers", { line: deep }],
  ])(
    "that writes %s without end is given up, and the others hardly notice [mcp.noise]",
    async (_, input) => {
      const host = hostOf([
        { ...raw(), name: "bad" },
        { ...raw(), name: "good" },
      ]);
      const good = value(await host.describe("good/fine", never));
      const bad = value(await host.describe("bad/storms", never));
      const longest = longestTurn();
      const flooded = host.call(bad, input, never);
      for (let call = 0; call < 20; call += 1) {
        expect(value(await host.call(good, {}, never)).content).toBe("ok");
      }
      const failed = failure(await flooded);
      expect(failed).toMatchObject({ kind: "unavailable", retryable: true });
      expect(failed.message).toMatch(/nobody asked for|does not read/u);
      expect(longest()).toBeLessThan(1_500);
      const begun = performance.now();
      await host.close();
      expect(performance.now() - begun).toBeLessThan(20_000);
    },
  );

  test("that writes to stderr without end is closed, and the others hardly notice [mcp.noise]", async () => {
    const host = hostOf([
      { ...raw(), name: "bad" },
      { ...raw(), name: "good" },
    ]);
    const good = value(await host.describe("good/fine", never));
    const stop = new AbortController();
    const bad = value(await host.describe("bad/storms", never));
    const flooded = host.call(bad, { line: "e", to: 2 }, stop.signal);
    for (let call = 0; call < 50; call += 1) {
      expect(value(await host.call(good, {}, never)).content).toBe("ok");
    }
    stop.abort();
    expect((await flooded).ok).toBe(false);
    const begun = performance.now();
    await host.close();
    expect(performance.now() - begun).toBeLessThan(20_000);
  });

  test("may print a lot, and show much progress, before it answers [mcp.noise]", async () => {
    const host = hostOf([raw()]);
    const noise = [
      ...Array.from({ length: 5_000 }, (_, at) => `line ${at}`),
      ...Array.from({ length: 5_000 }, () => say({ method: "notifications/message", params: {} })),
    ];
    expect(value(await callTool(host, "noisy", { noise }, never)).content).toBe("after the noise");
    expect(value(await callTool(host, "fine", {}, never)).content).toBe("ok");
  });

  test("that crashes in the middle of a call is quoted, and the next call works [mcp.mid-call]", async () => {
    const host = hostOf([raw()]);
    const safe = failure(await callTool(host, "crash", {}, never));
    expect(safe).toMatchObject({ kind: "unavailable", retryable: true });
    expect(safe.message).toContain("out of memory, I am afraid");
    expect(value(await callTool(host, "fine", {}, never)).content).toBe("ok");
    const unsafe = failure(await callTool(host, "crash_unsafely", {}, never));
    expect(unsafe).toMatchObject({ kind: "in_doubt", retryable: false });
    await expect.poll(async () => (await callTool(host, "fine", {}, never)).ok).toBe(true);
  });

  test("that lists a name twice has the first of them, and what the second says of it counts nothing [mcp.twice]", async () => {
    const host = hostOf([raw()]);
    const listed = value(await host.list(never)).filter(({ name }) => name === "twice");
    expect(listed).toHaveLength(1);
    expect(listed[0]).toMatchObject({ safeToRepeat: false, readOnly: false });
  });
});

/** An HTTP server of the handshake era whose calls are answered by what is written here, and nothing more. */
async function serveBroken(
  answer: (write: (text: string) => void, end: () => void, id: Json) => void,
) {
  const tools = ["safe", "unsafe"].map((name) => ({
    name,
    inputSchema: { type: "object" },
    annotations: { readOnlyHint: name === "safe" },
  }));
  const http = createServer((request, response) => {
    void (async () => {
      let body = "";
      for await (const chunk of request) body += String(chunk);
      if (request.method !== "POST") return void response.writeHead(405).end();
      const { id, method, params } = JSON.parse(body) as JsonObject & { params?: JsonObject };
      if (id === undefined) return void response.writeHead(202).end();
      const reply = (fields: object): void => {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(JSON.stringify({ jsonrpc: "2.0", id, ...fields }));
      };
      if (method === "server/discover") return reply({ error: { code: -32_601, message: "no" } });
      if (method === "initialize") {
        const { protocolVersion } = params ?? {};
        const serverInfo = { name: "broken", version: "1" };
        return reply({ result: { protocolVersion, capabilities: { tools: {} }, serverInfo } });
      }
      if (method === "tools/list") return reply({ result: { tools } });
      response.writeHead(200, { "content-type": "text/event-stream" });
      answer(
        (text) => void response.write(text),
        () => void response.end(),
        id,
      );
    })();
  });
  const port = await listen(http);
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    async stop() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

describe("a server that misbehaves over HTTP", () => {
  test("that ends its answer before it gives one fails the call at once: in doubt if it is unsafe [mcp.mid-call]", async () => {
    const server = await serveBroken((write, end) => {
      write(": here it comes\n\n");
      end();
    });
    const host = hostOf([{ name: "web", url: server.url }]);
    const begun = performance.now();
    expect(failure(await callTool(host, "unsafe", {}, never))).toMatchObject({ kind: "in_doubt" });
    expect(failure(await callTool(host, "safe", {}, never))).toMatchObject({ retryable: true });
    expect(performance.now() - begun).toBeLessThan(20_000);
    await host.close();
    await server.stop();
  });

  test.each(["\n", "\r", "\r\n"])(
    "may send as many events as it likes before it answers, their lines ended by %j [mcp.bounds]",
    async (end) => {
      const server = await serveBroken((write, close, id) => {
        const params = { level: "info", data: "z".repeat(1024 * 1024) };
        const event = (fields: object): void =>
          write(`data: ${JSON.stringify({ jsonrpc: "2.0", ...fields })}${end}${end}`);
        for (let sent = 0; sent < 12; sent += 1) event({ method: "notifications/message", params });
        event({ id, result: { content: [{ type: "text", text: "here it is" }] } });
        close();
      });
      const host = hostOf([{ name: "web", url: server.url }]);
      expect(value(await callTool(host, "safe", {}, never)).content).toBe("here it is");
      await host.close();
      await server.stop();
    },
  );

  const event = (fields: object): string => `data: ${say(fields)}\n\n`;
  test.each([
    ["comments", ": still here\n\n", 100_000],
    [
      "long events",
      event({ method: "notifications/message", params: { data: "z".repeat(2 ** 20) } }),
      1,
    ],
    ["changes of its list", event({ method: "notifications/tools/list_changed" }), 2_000],
    ["requests", event({ id: 1, method: "roots/list" }), 500],
  ])(
    "that sends %s without end is given up, and the others hardly notice [mcp.noise]",
    async (_, text, times) => {
      const once = text.repeat(times);
      const floods: NodeJS.Timeout[] = [];
      const server = await serveBroken((write) => {
        floods.push(setInterval(() => write(once), 1));
      });
      const host = hostOf([
        { name: "bad", url: server.url },
        { ...raw(), name: "good" },
      ]);
      const good = value(await host.describe("good/fine", never));
      const bad = value(await host.describe("bad/safe", never));
      const longest = longestTurn();
      const flooded = host.call(bad, {}, never);
      for (let call = 0; call < 20; call += 1) {
        expect(value(await host.call(good, {}, never)).content).toBe("ok");
      }
      expect(failure(await flooded)).toMatchObject({ kind: "unavailable", retryable: true });
      for (const flood of floods) clearInterval(flood);
      expect(longest()).toBeLessThan(1_500);
      await host.close();
      await server.stop();
    },
  );

  test("that writes an event without end is given up before it fills our memory [mcp.bounds]", async () => {
    const server = await serveBroken((write) => {
      const timer = setInterval(() => write(`data: ${"z".repeat(1024 * 1024)}\n`), 5);
      void sleep(3_000).then(() => clearInterval(timer));
    });
    const host = hostOf([{ name: "web", url: server.url }]);
    expect(failure(await callTool(host, "safe", {}, never))).toMatchObject({ retryable: true });
    await host.close();
    await server.stop();
  });
});
