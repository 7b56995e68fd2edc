import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { McpServer } from "../../adapters/mcp/config.ts";
import { freePort } from "../../adapters/redis/redis-process.ts";
import { fileSystemServer } from "../support/file-system-server.ts";
import { npmServer, popularServers, programOf } from "../support/npm-mcp-servers.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const everythingProgram = programOf("@modelcontextprotocol/server-everything");
const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { hostOf } = useMcpHosts();

const everything = npmServer("@modelcontextprotocol/server-everything");
const memory = (): McpServer =>
  npmServer("@modelcontextprotocol/server-memory", [], {
    MEMORY_FILE_PATH: join(folder, "memory.jsonl"),
  });

describe("servers as people install them, over standard streams", () => {
  test.each(popularServers)(
    "$name lists its tools, and ends when it should [mcp.real]",
    async (server, tool) => {
      const host = hostOf([server]);
      expect(value(await host.list(never)).map(({ name }) => name)).toContain(tool);
    },
  );

  test("three of them serve one host side by side [mcp.real]", async () => {
    const host = hostOf([
      fileSystemServer(folder),
      memory(),
      { ...everything, name: "everything" },
    ]);
    const said = value(await callTool(host, "echo", { message: "hello" }, never));
    expect(said).toEqual({ server: "everything", content: "Echo: hello" });
    expect(value(await callTool(host, "get-sum", { a: 2, b: 3 }, never)).content).toContain("5");
    const structured = { location: "New York" };
    expect(
      value(await callTool(host, "get-structured-content", structured, never)).content,
    ).toMatchObject({ conditions: expect.any(String) });
    const entities = [{ name: "Ada", entityType: "person", observations: ["writes programs"] }];
    value(await callTool(host, "create_entities", { entities }, never));
    expect(value(await callTool(host, "read_graph", {}, never)).content).toMatchObject({
      entities,
    });
  });
});

const listensAt = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("error", () => resolve(false));
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
  });

describe.each([
  ["streamableHttp", "/mcp", "http"],
  ["sse", "/sse", "sse"],
] as const)("the reference server over %s", (mode, path, transport) => {
  let child: ChildProcess | null = null;
  afterAll(() => void child?.kill("SIGKILL"));

  test.each([transport, undefined])(
    "is called by a configuration that says %s of the transport [mcp.real]",
    async (said) => {
      const port = await freePort();
      child = spawn(process.execPath, [everythingProgram, mode], {
        env: { PATH: process.env["PATH"], PORT: String(port) },
        stdio: "ignore",
      });
      // Each look in vain would double the time until the next one.
      await expect.poll(() => listensAt(port)).toBe(true);
      const url = `http://127.0.0.1:${port}${path}`;
      const host = hostOf([
        { name: "web", url, ...(said === undefined ? {} : { transport: said }) },
      ]);
      expect(await host.list(never)).toMatchObject({ ok: true });
      const result = value(await callTool(host, "echo", { message: "over the wire" }, never));
      expect(result.content).toBe("Echo: over the wire");
      await host.close();
      child.kill("SIGKILL");
    },
  );
});
