import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { readConfig, type McpServer } from "../../adapters/mcp/config.ts";
import { ChildTransport } from "../../adapters/mcp/child-transport.ts";
import { callTool } from "../support/call-tool.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { npmServer } from "../support/npm-mcp-servers.ts";
import { processesNaming, sleepTime } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { hostOf } = useMcpHosts();
const own = (server: McpServer): McpServer => ({ ...server, processes: "own" });

/** A server of Python alone: each call runs a shell script, and answers with what it printed. */
const shell = `
import json, subprocess, sys
for line in sys.stdin:
    message = json.loads(line)
    answer = {"jsonrpc": "2.0", "id": message.get("id")}
    if message["method"] == "initialize":
        answer["result"] = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "shell", "version": "1"}}
    elif message["method"] == "tools/list":
        answer["result"] = {"tools": [{"name": "run", "inputSchema": {"type": "object"}}]}
    elif message["method"] == "tools/call":
        said = subprocess.run(["sh", "-c", message["params"]["arguments"]["script"]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        answer["result"] = {"content": [{"type": "text", "text": said.stdout}]}
    elif "id" in message: answer["error"] = {"code": -32601, "message": "Method not found"}
    else: continue
    print(json.dumps(answer), flush=True)
`;
const python: McpServer = { name: "shell", command: "python3", args: ["-c", shell] };

test("a server sees, signals and looks into no process but its own, and one that shares does [mcp.own-processes]", async () => {
  const script = `
    grep SigIgn /proc/self/status
    [ -e /proc/${process.pid} ] && tr '\\0' ' ' < /proc/${process.pid}/cmdline | grep -c vitest
    kill -0 ${process.pid} 2>/dev/null && echo signals
    ls /proc | grep -c '^[0-9]'`;
  const said = async (server: McpServer) => {
    const { content } = value(await callTool(hostOf([server]), "run", { script }, never));
    return String(content).trim().split("\n");
  };
  const [[ignored, ...alone], [ignoredShared, ...sharing]] = await Promise.all([
    said(own(python)),
    said(python),
  ]);
  // A server that ends what it started by SIGINT must be heeded.
  expect(ignored).toBe(ignoredShared);
  expect(sharing).toContain("signals");
  // Its shells, itself, and what the script started.
  expect(alone.length).toBe(1);
  expect(Number(alone[0])).toBeLessThan(9);
});

test("servers of npm and npx, and ours, work so [mcp.own-processes]", async () => {
  const everything = npmServer("@modelcontextprotocol/server-everything");
  const byNpx: McpServer = {
    name: "npx",
    command: "npx",
    args: ["--no-install", "mcp-server-everything"],
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  };
  for (const server of [everything, byNpx]) {
    const host = hostOf([own(server)], 60_000);
    const echoed = value(await callTool(host, "echo", { message: "hello" }, never));
    expect(echoed.content).toBe("Echo: hello");
  }
  const repo = "a-repository";
  spawnSync("git", ["init", "-q", join(folder, repo)]);
  const bin = fileURLToPath(new URL("../../cli/bin.ts", import.meta.url));
  const args = [bin, "mcp", "git", "--root", folder];
  const ours = hostOf([own({ name: "git", command: process.execPath, args })], 60_000);
  const { content } = value(await callTool(ours, "git_status", { repo }, never));
  expect(content).toMatchObject({ clean: true });
});

test("all that it started ends with it, in whatever session, and says by which signal it ended [mcp.own-processes]", async () => {
  const mark = sleepTime();
  const script = `setsid sleep ${mark} >/dev/null 2>&1 </dev/null & echo started`;
  const host = hostOf([own(python)]);
  expect(value(await callTool(host, "run", { script }, never)).content).toBe("started\n");
  await expect.poll(() => processesNaming(mark, "sleep")).toHaveLength(1);
  const killed = await callTool(host, "run", { script: "kill -9 $PPID" }, never);
  expect(killed.ok ? "" : killed.failure.message).toContain("SIGKILL");
  await expect.poll(() => processesNaming(mark, "sleep")).toEqual([]);

  expect(value(await callTool(host, "run", { script }, never)).content).toBe("started\n");
  await expect.poll(() => processesNaming(mark, "sleep")).toHaveLength(1);
  await host.close();
  await expect.poll(() => processesNaming(mark, "sleep")).toEqual([]);
});

test("nothing of it outlives a worker that is killed [mcp.own-processes] [mcp.orphans]", async () => {
  const mark = join(folder, "killed");
  const support = (name: string) => fileURLToPath(new URL(`../support/${name}`, import.meta.url));
  const stubborn = `trap '' TERM; setsid sleep 1000 & : ${mark}; "${process.execPath}" "${support("raw-mcp-server.ts")}" ${mark}; while :; do sleep 1; done`;
  const worker = spawn(process.execPath, [support("one-tool-host.ts"), "/bin/sh", "-c", stubborn], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, OWN_PROCESSES: "yes" },
  });
  const [said] = (await once(worker.stdout, "data")) as [Buffer];
  expect(String(said)).toBe("ready\n");
  worker.kill("SIGKILL");
  await expect.poll(() => processesNaming(mark, "sh")).toEqual([]);
});

test("a program that is not there is told as ever, and no namespace is no start [mcp.own-processes]", async () => {
  const reason = async (server: McpServer) => {
    const listed = await hostOf([server]).list(never);
    return listed.ok ? "" : listed.failure.message;
  };
  const missing = { name: "gone", command: "no-such-program-here" };
  expect(await reason(own(missing))).toBe(await reason(missing));
  expect(await reason(missing)).toContain('there is no program "no-such-program-here"');

  vi.resetModules();
  const path = process.env["PATH"];
  onTestFinished(() => void vi.unstubAllEnvs());
  const { startOf } = await import("../../adapters/mcp/own-processes.ts");
  vi.stubEnv("PATH", "/nowhere");
  await expect(startOf({ ...own(python), env: { PATH: path ?? "" } })).rejects.toThrow(
    'its configuration says "processes": "own", and no process namespace can be made here',
  );
});

test("one that is closed while it is about to start does not start [mcp.own-processes]", async () => {
  for (const server of [own(python), python]) {
    const mark = sleepTime();
    const transport = new ChildTransport({ ...server, command: "sleep", args: [mark] }, () => {});
    const started = transport.start().catch(String);
    await transport.close();
    await started;
    await transport.close();
    expect(await processesNaming(mark, "sleep")).toEqual([]);
  }
});

test("it is a key of a server with a command [mcp.own-processes]", async () => {
  const read = async (server: object) => {
    const file = join(folder, "mcp.json");
    writeFileSync(file, JSON.stringify({ mcpServers: { one: server } }));
    return readConfig(file, {});
  };
  const found = await read({ command: "a", processes: "own" });
  expect(found.ok && found.value.servers[0]).toMatchObject({ command: "a", processes: "own" });
  const shared = await read({ command: "a", processes: "shared" });
  expect(shared.ok && shared.value.servers[0]).not.toHaveProperty("processes");
  for (const [server, expected] of [
    [{ url: "http://localhost", processes: "own" }, "processes must go with a command"],
    [{ command: "a", processes: "other" }, "processes must be"],
  ] as const) {
    const refused = await read(server);
    expect(refused.ok ? "" : refused.problem).toContain(expected);
  }
});
