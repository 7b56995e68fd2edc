import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { failure } from "../support/failure.ts";
import { fileSystemServer } from "../support/file-system-server.ts";
import { isAlive } from "../support/is-alive.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const { warnings, hostOf, odd } = useMcpHosts();

const pidOf = async (host: ToolHost): Promise<number> =>
  Number(value(await callTool(host, "pid", {}, never)).content);

describe("time", () => {
  test("an abort cuts a call short and reaches the server", async () => {
    const host = hostOf([odd()]);
    value(await host.list(never));
    const abort = new AbortController();
    const call = callTool(host, "wait", {}, abort.signal);
    const cancelled = async () => value(await callTool(host, "was_cancelled", {}, never)).content;
    await expect.poll(cancelled).toBe("0 of 1");
    abort.abort();
    const begun = performance.now();
    expect(failure(await call)).toMatchObject({ kind: "cancelled", retryable: false });
    expect(performance.now() - begun).toBeLessThan(15_000);
    expect(await cancelled()).toBe("1 of 1");
  });

  test("one caller's abort during the shared connect leaves the others alone", async () => {
    const host = hostOf([odd()]);
    const abort = new AbortController();
    const [first, second, third] = [
      callTool(host, "pid", {}, abort.signal),
      callTool(host, "pid", {}, never),
      callTool(host, "pid", {}, never),
    ];
    abort.abort();
    expect(failure(await first).kind).toBe("cancelled");
    expect(value(await second).content).toBe(value(await third).content);
  });

  test("a slow call times out: to be retried if it is safe, in doubt if not", async () => {
    const host = hostOf([{ ...odd(), limits: { timeoutMs: 1_500 } }]);
    value(await host.list(never));
    const [safe, unsafe] = await Promise.all([
      callTool(host, "wait", {}, never),
      callTool(host, "wait_unsafely", {}, never),
    ]);
    expect(failure(safe)).toMatchObject({ kind: "timeout", retryable: true });
    expect(failure(unsafe)).toMatchObject({ kind: "in_doubt", retryable: false });
  });

  test("a server that hangs is given up and started anew", async () => {
    const host = hostOf([{ ...odd(), toolLimits: { block: { timeoutMs: 1_500 } } }]);
    const before = await pidOf(host);
    expect(failure(await callTool(host, "block", {}, never)).kind).toBe("timeout");
    await expect.poll(() => isAlive(before)).toBe(false);
    expect(await pidOf(host)).not.toBe(before);
  });

  test("a server that never shakes hands is unavailable after the time limit", async () => {
    const host = hostOf([odd({ ODD_MODE: "mute" })], 1_000);
    const silent = failure(await host.list(never));
    expect(silent).toMatchObject({ kind: "unavailable", retryable: true });
    expect(silent.message).toContain('"odd"');
  });
});

describe("session and death", () => {
  test("a killed server is started anew on the next use", async () => {
    const host = hostOf([odd()]);
    const before = await pidOf(host);
    process.kill(before, "SIGKILL");
    await expect.poll(() => warnings).toContain("MCP server was lost");
    const after = await pidOf(host);
    expect(after).not.toBe(before);
  });

  test("a crash during a call is unavailable if the call is safe, in doubt if not", async () => {
    const host = hostOf([odd()]);
    const safe = failure(await callTool(host, "exit", {}, never));
    expect(safe).toMatchObject({ kind: "unavailable", retryable: true });
    expect(safe.message).toContain('"odd"');
    const unsafe = failure(await callTool(host, "exit_unsafely", {}, never));
    expect(unsafe).toMatchObject({ kind: "in_doubt", retryable: false });
  });

  test("a server that can't be started is tried again, with a growing wait told to the caller", async () => {
    const host = hostOf([odd({ ODD_MODE: "dies" })]);
    const first = failure(await callTool(host, "pid", {}, never));
    expect(first).toMatchObject({ kind: "unavailable", retryable: true });
    expect(first.message).toContain("exited with code 3");
    expect(first.retryAfterMs).toBeUndefined();
    // The first wait is none, and the next one may be over before anybody asks: a later one is not.
    await expect
      .poll(async () => failure(await callTool(host, "pid", {}, never)).retryAfterMs)
      .toBeGreaterThan(0);
    const missing = hostOf([{ name: "ghost", command: "/does/not/exist" }]);
    expect(failure(await missing.list(never)).message).toContain("there is no program");
  });

  test("one dead server does not take the tools of the others away", async () => {
    const host = hostOf([odd({ ODD_MODE: "dies" }, "dead"), odd({}, "living")]);
    expect(value(await host.list(never)).map((tool) => tool.server)).toContain("living");
    expect(value(await callTool(host, "pid", {}, never)).server).toBe("living");
    expect(failure(await callTool(host, "unknown", {}, never)).kind).toBe("unavailable");
  });

  test("close leaves nothing of a server, even one that ignores its end and has children", async () => {
    const pids = join(folder, "pids");
    const host = hostOf([odd({ ODD_MODE: "deaf", ODD_PIDS: pids }), fileSystemServer(folder)]);
    value(await host.list(never));
    const started = (await readFile(pids, "utf8")).trim().split("\n").map(Number);
    expect(started.map(isAlive)).toEqual([true, true]);
    const begun = performance.now();
    await host.close();
    expect(performance.now() - begun).toBeLessThan(20_000);
    await expect.poll(() => started.map(isAlive)).toEqual([false, false]);
    expect(failure(await host.list(never)).kind).toBe("unavailable");
  });
});
