import { readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CallToolRequestSchema,
  InitializeRequestSchema,
  ListToolsRequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import type { CallToolResult, Tool } from "@modelcontextprotocol/sdk/types.js";

/**
 * A real MCP server over stdio that does what servers do on bad days. `ODD_MODE`: `mute` never answers the
 * handshake, `dies` exits at once, `deaf` ignores the end of its input and SIGTERM, and starts a child, `grows`
 * has one more tool while its list is first read. `ODD_DESCRIPTION` names a file with the description of `pid`, which is
 * read for each list; `ODD_SCHEMA` is the input schema of `strict`.
 */
const mode = process.env["ODD_MODE"] ?? "";
if (mode === "dies") process.exit(3);
if (mode === "deaf") {
  process.on("SIGTERM", () => undefined);
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  writeFileSync(process.env["ODD_PIDS"] ?? "", `${process.pid}\n${child.pid}\n`);
  setInterval(() => undefined, 60_000);
}

const anything = { type: "object" } as const;
const mixed = {
  type: "object",
  properties: {
    value: { type: ["string", "null"] },
    count: { type: "integer" },
    nested: { type: "object", properties: { list: { type: "array", items: { enum: ["a"] } } } },
  },
  required: ["value"],
} as const;
const schema = process.env["ODD_SCHEMA"];
const safe = { readOnlyHint: true };
const tools: Tool[] = [
  { name: "environment", inputSchema: anything, annotations: safe },
  { name: "meta", inputSchema: anything, annotations: safe },
  { name: "pid", inputSchema: anything, annotations: safe },
  { name: "wait", inputSchema: anything, annotations: safe },
  { name: "wait_unsafely", inputSchema: anything },
  { name: "was_cancelled", inputSchema: anything, annotations: safe },
  { name: "exit", inputSchema: anything, annotations: safe },
  { name: "exit_unsafely", inputSchema: anything },
  { name: "block", inputSchema: anything, annotations: { idempotentHint: true } },
  { name: "picture", inputSchema: anything },
  { name: "complain", inputSchema: anything },
  { name: "strict", inputSchema: schema === undefined ? mixed : JSON.parse(schema) },
  {
    name: "older",
    inputSchema: {
      ...anything,
      properties: { pair: { type: "array", items: [{ type: "number" }] } },
    },
  },
  { name: "unreadable", inputSchema: { type: "object", properties: { x: { type: "nonsense" } } } },
  {
    name: "liar",
    inputSchema: anything,
    outputSchema: { type: "object", properties: { n: { type: "number" } }, required: ["n"] },
  },
  { name: "grow", inputSchema: anything },
];

let begun = 0;
let cancelled = 0;
const server = new Server(
  { name: "odd", version: "1" },
  { capabilities: { tools: { listChanged: true } } },
);
if (mode === "mute") {
  server.setRequestHandler(InitializeRequestSchema, () => new Promise<never>(() => undefined));
}
/** What is listed now; a listing under way goes on with what it began with. */
let listed = tools;
// Two tools a page, so that whoever reads one page misses most.
server.setRequestHandler(ListToolsRequestSchema, async ({ params }) => {
  if (mode === "grows" && params?.cursor === undefined) {
    listed = [...tools];
    if (tools.every(({ name }) => name !== "grown")) {
      tools.push({ name: "grown", inputSchema: anything });
      await server.sendToolListChanged();
    }
  }
  const described = process.env["ODD_DESCRIPTION"];
  const pid = listed.find(({ name }) => name === "pid");
  if (described !== undefined && pid !== undefined) {
    pid.description = readFileSync(described, "utf8");
  }
  const from = Number(params?.cursor ?? 0);
  const more = from + 2 < listed.length ? { nextCursor: String(from + 2) } : {};
  return { tools: listed.slice(from, from + 2), ...more };
});
server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
  switch (params.name) {
    case "environment":
      return said(JSON.stringify(process.env));
    case "meta":
      return said(JSON.stringify(params._meta ?? null));
    case "pid":
      return said(String(process.pid));
    case "wait":
    case "wait_unsafely":
      begun += 1;
      return new Promise<CallToolResult>((resolve) => {
        const timer = setTimeout(() => resolve(said("done")), 60_000);
        extra.signal.addEventListener("abort", () => {
          clearTimeout(timer);
          cancelled += 1;
        });
      });
    case "was_cancelled":
      return said(`${cancelled} of ${begun}`);
    case "exit":
    case "exit_unsafely":
      return process.exit(1);
    case "block":
      for (;;);
    case "picture":
      return {
        content: [
          { type: "text", text: "look" },
          { type: "image", mimeType: "image/png", data: Buffer.alloc(3_000).toString("base64") },
        ],
      };
    case "complain":
      return { ...said("x".repeat(10_000)), isError: true };
    case "liar":
      return { content: [], structuredContent: { n: "not a number" } };
    case "grow":
      tools.push({ name: "grown", inputSchema: anything });
      await server.sendToolListChanged();
      return said("grew");
    default:
      return said(JSON.stringify(params.arguments));
  }
});
await server.connect(new StdioServerTransport());

function said(text: string): CallToolResult {
  return { content: [{ type: "text", text }] };
}
