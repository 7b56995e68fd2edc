import { mkdtemp, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createToolHost } from "../../adapters/mcp/host.ts";
import type { McpServer } from "../../adapters/mcp/mcp-server.ts";
import type { Outcome } from "../../machines/contracts/outcome.ts";
import type { Failure } from "../../machines/contracts/failure.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";

const fileSystemServer = fileURLToPath(
  new URL(
    "../../node_modules/@modelcontextprotocol/server-filesystem/dist/index.js",
    import.meta.url,
  ),
);
const oddServer = fileURLToPath(new URL("./support/odd-mcp-server.ts", import.meta.url));

const never = new AbortController().signal;
const warnings: string[] = [];
const log = {
  debug: () => undefined,
  info: () => undefined,
  warn: (_: object, message: string) => void warnings.push(message),
  error: () => undefined,
};
const hosts: ToolHost[] = [];
let folder = "";

function hostOf(servers: McpServer[], timeoutMs = 20_000): ToolHost {
  const clientInfo = { name: "stateplane-test", version: "0" };
  const host = createToolHost({ servers, log, clientInfo, timeoutMs });
  hosts.push(host);
  return host;
}

const odd = (env: Record<string, string> = {}, name = "odd"): McpServer => ({
  name,
  command: process.execPath,
  args: [oddServer],
  env,
});
const files = (name = "files"): McpServer => ({
  name,
  command: process.execPath,
  args: [fileSystemServer, folder],
});

function value<T>(outcome: Outcome<T>): T {
  if (!outcome.ok) throw new Error(`${outcome.failure.kind}: ${outcome.failure.message}`);
  return outcome.value;
}

function failure(outcome: Outcome<unknown>): Failure {
  if (outcome.ok) throw new Error(`expected a failure, got ${JSON.stringify(outcome.value)}`);
  return outcome.failure;
}

const pidOf = async (host: ToolHost): Promise<number> =>
  Number(value(await host.call("pid", {}, never)).content);

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "stateplane-mcp-")));
  await writeFile(join(folder, "hello.txt"), "hello there");
});
afterEach(async () => {
  await Promise.all(hosts.splice(0).map((host) => host.close()));
  warnings.length = 0;
});
afterAll(() => rm(folder, { recursive: true }));

describe("the reference file system server", () => {
  test("its tools are listed and described with schemas and safety", async () => {
    const host = hostOf([files()]);
    const tools = value(await host.list(never));
    const read = tools.find((tool) => tool.name === "read_text_file");
    expect(read).toMatchObject({ server: "files", readOnly: true, safeToRepeat: true });
    expect(read?.inputSchema).toMatchObject({ properties: { path: { type: "string" } } });
    const move = value(await host.describe("move_file", never));
    expect(move).toMatchObject({ name: "move_file", readOnly: false, safeToRepeat: false });
  });

  test("a call returns the tool's structured content", async () => {
    const host = hostOf([files()]);
    const path = join(folder, "hello.txt");
    const result = value(await host.call("read_text_file", { path }, never));
    expect(result).toEqual({ server: "files", content: { content: "hello there" } });
  });

  test("a tool's own error is a failure that no retry mends", async () => {
    const host = hostOf([files()]);
    const outcome = await host.call("read_text_file", { path: "/etc/passwd" }, never);
    expect(failure(outcome)).toMatchObject({ kind: "tool_failed", retryable: false });
    expect(failure(outcome).message).toContain("Access denied");
  });
});

describe("names", () => {
  test("an unknown tool is not found", async () => {
    const host = hostOf([odd()]);
    expect(failure(await host.call("nope", {}, never)).kind).toBe("not_found");
    expect(failure(await host.describe("odd.nope", never)).kind).toBe("not_found");
  });

  test("a name that two servers have is a conflict, and the qualified one is not", async () => {
    const host = hostOf([odd({ WHO: "first" }, "one"), odd({ WHO: "second" }, "two")]);
    const conflict = failure(await host.call("environment", {}, never));
    expect(conflict).toMatchObject({ kind: "conflict", retryable: false });
    expect(conflict.message).toMatch(/"one".*"two"/);
    const result = value(await host.call("two.environment", {}, never));
    expect(result.server).toBe("two");
    expect(JSON.parse(String(result.content))).toMatchObject({ WHO: "second" });
    const names = value(await host.list(never)).map((tool) => tool.name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("one.pid");
  });

  test("a server that went away still counts against an ambiguous name", async () => {
    const flag = join(folder, "flag");
    await writeFile(flag, "");
    const fading: McpServer = {
      name: "fading",
      command: "/bin/sh",
      args: ["-c", `test -e "${flag}" && exec "${process.execPath}" "${oddServer}"`],
    };
    const host = hostOf([odd({}, "one"), fading]);
    expect(failure(await host.call("pid", {}, never)).kind).toBe("conflict");
    await rm(flag);
    const pid = Number(value(await host.call("fading.pid", {}, never)).content);
    process.kill(pid, "SIGKILL");
    while (isAlive(pid)) await sleep(10);
    expect(failure(await host.call("fading.pid", {}, never)).kind).toBe("unavailable");
    const conflict = failure(await host.call("pid", {}, never));
    expect(conflict.kind).toBe("conflict");
  });

  test("all pages of a list are read, and a changed list is read again", async () => {
    const host = hostOf([odd()]);
    const before = value(await host.list(never)).map((tool) => tool.name);
    expect(before).toContain("liar");
    expect(before).not.toContain("grown");
    value(await host.call("grow", {}, never));
    await expect
      .poll(async () => value(await host.list(never)).map((tool) => tool.name))
      .toContain("grown");
  });
});

describe("what goes in and out", () => {
  test.each([
    [{}, "value"],
    [{ value: 3 }, "/value"],
    [{ value: null, count: true }, "/count"],
    [{ value: "x", nested: { list: ["a", "b"] } }, "/nested/list/1"],
  ])("input %j is refused before the call, naming %s", async (input, path) => {
    const refused = failure(await hostOf([odd()]).call("strict", input, never));
    expect(refused).toMatchObject({ kind: "invalid_input", retryable: false });
    expect(refused.message).toContain(path);
  });

  test("input that matches a schema with lists of types goes through", async () => {
    const result = value(await hostOf([odd()]).call("strict", { value: null }, never));
    expect(result.content).toBe('{"value":null}');
  });

  test("a schema of draft 7 is enforced, one that nobody can read is told and passed", async () => {
    const host = hostOf([odd()]);
    expect(failure(await host.call("older", { pair: ["x"] }, never)).kind).toBe("invalid_input");
    value(await host.call("unreadable", { x: 1 }, never));
    expect(warnings).toEqual(["MCP tool's schema is not usable"]);
  });

  test("structured content that breaks the tool's own schema is an invalid output", async () => {
    const broken = failure(await hostOf([odd()]).call("liar", {}, never));
    expect(broken).toMatchObject({ kind: "invalid_output", retryable: false });
    expect(broken.message).toContain("/n");
  });

  test("a picture is represented by its type and size", async () => {
    expect(value(await hostOf([odd()]).call("picture", {}, never)).content).toEqual([
      { type: "text", text: "look" },
      { type: "image", mimeType: "image/png", bytes: 3_000 },
    ]);
  });

  test("a long complaint is cut", async () => {
    const complaint = failure(await hostOf([odd()]).call("complain", {}, never));
    expect(complaint.kind).toBe("tool_failed");
    expect(complaint.message.length).toBeLessThan(4_300);
  });

  test("a server sees its configured environment and nothing else of ours", async () => {
    process.env["STATEPLANE_TEST_SECRET"] = "do not leak";
    const host = hostOf([odd({ GIVEN: "yes" })]);
    const result = value(await host.call("environment", {}, never));
    delete process.env["STATEPLANE_TEST_SECRET"];
    const seen = Object.keys(JSON.parse(String(result.content)) as object);
    const allowed = ["GIVEN", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER"];
    expect(seen).toContain("GIVEN");
    expect(seen.filter((name) => !allowed.includes(name))).toEqual([]);
  });
});

describe("time", () => {
  test("an abort cuts a call short and reaches the server", async () => {
    const host = hostOf([odd()]);
    value(await host.list(never));
    const abort = new AbortController();
    const call = host.call("wait", {}, abort.signal);
    setTimeout(() => abort.abort(), 200);
    const begun = performance.now();
    expect(failure(await call)).toMatchObject({ kind: "cancelled", retryable: false });
    expect(performance.now() - begun).toBeLessThan(2_000);
    expect(value(await host.call("was_cancelled", {}, never)).content).toBe("1");
  });

  test("one caller's abort during the shared connect leaves the others alone", async () => {
    const host = hostOf([odd()]);
    const abort = new AbortController();
    const [first, second, third] = [
      host.call("pid", {}, abort.signal),
      host.call("pid", {}, never),
      host.call("pid", {}, never),
    ];
    abort.abort();
    expect(failure(await first).kind).toBe("cancelled");
    expect(value(await second).content).toBe(value(await third).content);
  });

  test("a slow call times out: to be retried if it is safe, in doubt if not", async () => {
    const host = hostOf([odd()], 1_500);
    value(await host.list(never));
    const [safe, unsafe] = await Promise.all([
      host.call("wait", {}, never),
      host.call("wait_unsafely", {}, never),
    ]);
    expect(failure(safe)).toMatchObject({ kind: "timeout", retryable: true });
    expect(failure(unsafe)).toMatchObject({ kind: "in_doubt", retryable: false });
  });

  test("a server that hangs is given up and started anew", async () => {
    const host = hostOf([odd()], 1_500);
    const before = await pidOf(host);
    expect(failure(await host.call("block", {}, never)).kind).toBe("timeout");
    await expect.poll(() => isAlive(before), { timeout: 8_000 }).toBe(false);
    expect(await pidOf(host)).not.toBe(before);
  });

  test("a server that never shakes hands is unavailable after the time limit", async () => {
    const host = hostOf([odd({ ODD_MODE: "mute" })], 1_000);
    const silent = failure(await host.list(never));
    expect(silent).toMatchObject({ kind: "unavailable", retryable: true });
    expect(silent.message).toContain('"odd"');
  });
});

describe("life and death", () => {
  test("a killed server is started anew on the next use", async () => {
    const host = hostOf([odd()]);
    const before = await pidOf(host);
    process.kill(before, "SIGKILL");
    while (isAlive(before)) await sleep(10);
    await sleep(50);
    const after = await pidOf(host);
    expect(after).not.toBe(before);
    expect(warnings).toContain("MCP server went away");
  });

  test("a crash during a call is unavailable if the call is safe, in doubt if not", async () => {
    const host = hostOf([odd()]);
    const safe = failure(await host.call("exit", {}, never));
    expect(safe).toMatchObject({ kind: "unavailable", retryable: true });
    expect(safe.message).toContain('"odd"');
    const unsafe = failure(await host.call("exit_unsafely", {}, never));
    expect(unsafe).toMatchObject({ kind: "in_doubt", retryable: false });
  });

  test("a server that can't be started is tried again, with a growing wait told to the caller", async () => {
    const host = hostOf([odd({ ODD_MODE: "dies" })]);
    const first = failure(await host.call("pid", {}, never));
    expect(first).toMatchObject({ kind: "unavailable", retryable: true });
    expect(first.message).toContain("exited with code 3");
    expect(first.retryAfterMs).toBeUndefined();
    await host.call("pid", {}, never);
    const third = failure(await host.call("pid", {}, never));
    expect(third.retryAfterMs).toBeGreaterThan(0);
    const missing = hostOf([{ name: "ghost", command: "/does/not/exist" }]);
    expect(failure(await missing.list(never)).message).toContain("ENOENT");
  });

  test("one dead server does not take the tools of the others away", async () => {
    const host = hostOf([odd({ ODD_MODE: "dies" }, "dead"), odd({}, "living")]);
    expect(value(await host.list(never)).map((tool) => tool.server)).toContain("living");
    expect(value(await host.call("pid", {}, never)).server).toBe("living");
    expect(failure(await host.call("unknown", {}, never)).kind).toBe("unavailable");
  });

  test("close leaves nothing of a server, even one that ignores its end and has children", async () => {
    const pids = join(folder, "pids");
    const host = hostOf([odd({ ODD_MODE: "deaf", ODD_PIDS: pids }), files()]);
    value(await host.list(never));
    const started = (await readFile(pids, "utf8")).trim().split("\n").map(Number);
    expect(started.map(isAlive)).toEqual([true, true]);
    const begun = performance.now();
    await host.close();
    expect(performance.now() - begun).toBeLessThan(4_000);
    await expect.poll(() => started.map(isAlive)).toEqual([false, false]);
    expect(failure(await host.list(never)).kind).toBe("unavailable");
  });
});

interface WebServer {
  url: string;
  port: number;
  /** Drops every session, as a restart would. */
  forget(): void;
  stop(): Promise<void>;
}

async function serve(port = 0): Promise<WebServer> {
  const transports = new Map<string, StreamableHTTPServerTransport>();
  const http = createServer((request, response) => {
    void (async () => {
      if (request.headers.authorization !== "Bearer token") {
        response.writeHead(401).end();
        return;
      }
      const id = request.headers["mcp-session-id"];
      let transport = transports.get(String(id));
      if (transport === undefined && id !== undefined) {
        response.writeHead(404).end();
        return;
      }
      if (transport === undefined) {
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: () => crypto.randomUUID(),
          onsessioninitialized: (session) => {
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
        server.setRequestHandler(CallToolRequestSchema, () => ({
          content: [{ type: "text", text: "good day" }],
        }));
        await server.connect(transport as Transport);
      }
      await transport.handleRequest(request, response);
    })();
  });
  await new Promise<void>((resolve) => {
    http.listen(port, "127.0.0.1", resolve);
  });
  const address = http.address() as AddressInfo;
  const stop = (): Promise<void> =>
    new Promise((resolve) => {
      http.close(() => resolve());
      http.closeAllConnections();
    });
  return {
    url: `http://127.0.0.1:${address.port}/mcp`,
    port: address.port,
    forget: () => transports.clear(),
    stop,
  };
}

describe("a server over HTTP", () => {
  test("is called like any other, and connected anew after it restarted", async () => {
    const first = await serve();
    const headers = { Authorization: "Bearer token" };
    const host = hostOf([{ name: "web", url: first.url, headers }]);
    expect(value(await host.call("greet", {}, never)).content).toBe("good day");
    await first.stop();
    const gone = failure(await host.call("greet", {}, never));
    expect(gone).toMatchObject({ kind: "unavailable", retryable: true });
    const second = await serve(first.port);
    await expect
      .poll(async () => (await host.call("greet", {}, never)).ok, { timeout: 10_000 })
      .toBe(true);
    await host.close();
    await second.stop();
  });

  test("a lost session costs one call, and the next one has a new session", async () => {
    const first = await serve();
    const headers = { Authorization: "Bearer token" };
    const host = hostOf([{ name: "web", url: first.url, headers }]);
    value(await host.list(never));
    first.forget();
    expect(failure(await host.call("give", {}, never)).kind).toBe("unavailable");
    expect(value(await host.call("give", {}, never)).content).toBe("good day");
    await host.close();
    await first.stop();
  });

  test("a server that does not know us is an unauthorized failure, not to be retried", async () => {
    const server = await serve();
    const host = hostOf([{ name: "web", url: server.url }]);
    expect(failure(await host.list(never))).toMatchObject({
      kind: "unauthorized",
      retryable: false,
    });
    await host.close();
    await server.stop();
  });
});
