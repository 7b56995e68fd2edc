import { appendFileSync } from "node:fs";
import { createInterface } from "node:readline";

/**
 * An MCP server without an SDK, so that it can say what no SDK would. `RAW_MODE`: `floods` writes to stderr without a
 * line end, `pages` never comes to the end of its list, `silent` never lists, `refuses` ends at once and says why,
 * `handshake-only` ends when it is asked anything before the handshake, `ignores` says nothing to it,
 * `odd-tools` lists tools that can't be read or used, `stateless` speaks the revision without a handshake and answers each
 * call with the result that its arguments hold. Every message it is sent is written to `RAW_SEEN`. Its tool `storms` writes a line without end.
 */
const mode = process.env["RAW_MODE"] ?? "";
const seen = process.env["RAW_SEEN"];

if (mode === "refuses") {
  process.stderr.write("EXAMPLE_TOKEN is not set\n");
  process.exit(2);
}
if (mode === "floods") {
  const chunk = Buffer.alloc(8 * 1024 * 1024, "x");
  for (let written = 0; written < 560; written += 8) process.stderr.write(chunk);
}

const anything = { type: "object" };
const safe = { annotations: { readOnlyHint: true } };
const loop = { type: "object", anyOf: [{ $ref: "#" }] };
const slow = { type: "object", properties: { text: { type: "string", pattern: "^(a+)+$" } } };
const tools = {
  "odd-tools": [
    { name: "fine", inputSchema: anything, ...safe },
    { name: "nameless schema", inputSchema: "text" },
    { name: "promised", inputSchema: { $async: true, type: "object" }, ...safe },
    { name: "loops", inputSchema: loop, ...safe },
    { name: "slow", inputSchema: slow, ...safe },
    ...["", "x\u0000", "a\nb", "rеad", "x".repeat(129)].map((name) => ({
      name,
      inputSchema: anything,
    })),
    { name: "long", description: "x".repeat(1_100_000), inputSchema: anything },
  ],
}[mode] ?? [
  { name: "fine", inputSchema: anything, ...safe },
  { name: "big", inputSchema: anything, ...safe },
  { name: "works", inputSchema: anything, ...safe },
  { name: "noisy", inputSchema: anything, ...safe },
  { name: "flood", inputSchema: anything, ...safe },
  { name: "storms", inputSchema: anything, ...safe },
  { name: "late", inputSchema: anything, ...safe },
  { name: "crash", inputSchema: anything, ...safe },
  { name: "crash_unsafely", inputSchema: anything },
  { name: "twice", inputSchema: anything },
  { name: "twice", inputSchema: anything, ...safe },
];

const send = (message: object) =>
  process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
const text = (words: string) => ({ content: [{ type: "text", text: words }] });

const input = createInterface({ input: process.stdin });
input.on("line", (line) => {
  if (seen !== undefined) appendFileSync(seen, `${line}\n`);
  const { id, method, params } = JSON.parse(line);
  if (method === "server/discover") {
    if (mode === "handshake-only") process.exit(1);
    if (mode === "stateless") {
      const about = { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } };
      const result = { serverInfo: { name: "raw", version: "1" }, ttlMs: 0, cacheScope: "private" };
      send({ id, result: { resultType: "complete", ...about, ...result } });
    } else if (mode !== "ignores")
      send({ id, error: { code: -32_601, message: "Method not found" } });
  }
  if (method === "initialize") {
    const { protocolVersion } = params;
    const serverInfo = { name: "raw", version: "1" };
    send({ id, result: { protocolVersion, capabilities: { tools: {} }, serverInfo } });
  }
  if (method === "ping") send({ id, result: {} });
  if (method === "tools/list" && mode !== "silent") {
    const page = Number(params?.cursor ?? 0);
    const next = mode === "pages" ? { nextCursor: String(page + 1) } : {};
    const kept =
      mode === "stateless" ? { resultType: "complete", ttlMs: 0, cacheScope: "private" } : {};
    send({ id, result: { tools, ...next, ...kept } });
  }
  if (method !== "tools/call") return;
  if (mode === "stateless") {
    const { result } = params.arguments;
    process.stdout.write(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}\n`);
    return;
  }
  const { noise = [], afterMs = 0 } = params.arguments ?? {};
  if (params.name === "noisy") {
    for (const words of noise) process.stdout.write(`${words}\n`);
    send({ id, result: text("after the noise") });
    // Once more, as nobody should.
    send({ id, result: text("a second answer") });
    return;
  }
  if (params.name === "flood") {
    const chunk = "y".repeat(1024 * 1024);
    const more = () => process.stdout.write(chunk, () => setImmediate(more));
    more();
    return;
  }
  if (params.name === "storms") {
    const { line: words, to = 1, isDeaf = false } = params.arguments;
    if (isDeaf) process.stdin.pause();
    const many = Buffer.from(`${words}\n`.repeat(Math.ceil(100_000 / (words.length + 1))));
    const storm = (): void => {
      (to === 1 ? process.stdout : process.stderr).write(many, () => setImmediate(storm));
    };
    storm();
    return;
  }
  if (params.name === "late") {
    setTimeout(() => send({ id, result: text(`after ${afterMs} ms`) }), afterMs);
    return;
  }
  if (params.name.startsWith("crash")) {
    process.stdout.write(`{"jsonrpc":"2.0","id":${id},"resu`);
    process.stderr.write("out of memory, I am afraid\n");
    setTimeout(() => process.exit(137), 20);
    return;
  }
  if (params.name === "big") {
    process.stdout.write(
      `{"jsonrpc":"2.0","id":${id},"result":{"content":[],"structuredContent":{"id":9007199254740993}}}\n`,
    );
    return;
  }
  if (params.name !== "works") {
    send({ id, result: text("ok") });
    return;
  }
  const { progressToken } = params._meta;
  let progress = 0;
  const timer = setInterval(() => {
    progress += 1;
    send({ method: "notifications/progress", params: { progressToken, progress } });
    if (progress < (params.arguments?.times ?? 8)) return;
    clearInterval(timer);
    send({ id, result: text("done") });
  }, 250);
});
