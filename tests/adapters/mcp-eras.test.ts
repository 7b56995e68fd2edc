import { type ChildProcess, spawn } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  CompositePropagator,
  W3CBaggagePropagator,
  W3CTraceContextPropagator,
} from "@opentelemetry/core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { McpServer } from "../../adapters/mcp/config.ts";
import { freePort } from "../../adapters/redis/redis-process.ts";
import { callTool } from "../support/call-tool.ts";
import { failure } from "../support/failure.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();
const program = (name: string): string =>
  fileURLToPath(new URL(`../support/${name}.ts`, import.meta.url));
const stateless: McpServer = {
  name: "stateless",
  command: process.execPath,
  args: [program("stateless-mcp-server")],
};
const raw = (mode: string): McpServer => ({
  name: "raw",
  command: process.execPath,
  args: [program("raw-mcp-server")],
  env: { RAW_MODE: mode, NODE_NO_WARNINGS: "1" },
});

let web: ChildProcess | null = null;
let url = "";
async function startWeb(port: number): Promise<void> {
  web = spawn(process.execPath, [program("stateless-mcp-server")], {
    env: { PATH: process.env["PATH"], PORT: String(port), NODE_NO_WARNINGS: "1" },
    stdio: "ignore",
  });
  const isThere = () =>
    fetch(url).then(
      () => true,
      () => false,
    );
  while (!(await isThere())) await sleep(50);
}
beforeAll(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/mcp`;
  await startWeb(port);
});
afterAll(() => void web?.kill("SIGKILL"));

describe.each([
  ["its standard streams", () => stateless],
  ["HTTP", () => ({ name: "stateless", url })],
])("a server of the stateless revision over %s", (_, server) => {
  test("is asked without a handshake, and each request says who asks [mcp.eras]", async () => {
    const host = hostOf([server()]);
    expect(value(await callTool(host, "greet", {}, never)).content).toBe("good day");
    const { content } = value(await callTool(host, "meta", {}, never, "run_1/stp_1/tool:meta"));
    expect(JSON.parse(String(content))).toMatchObject({
      "stateplane/idempotency-key": "run_1/stp_1/tool:meta",
    });
  });

  test("gets its state back when it asks to be called again [mcp.eras]", async () => {
    const { content } = value(await callTool(hostOf([server()]), "again", {}, never));
    expect(content).toMatch(/^went on from so far in run \d+$/u);
  });

  test("that asks a model or for our folders in the middle of a call is refused plainly [mcp.refused-asks]", async () => {
    const host = hostOf([server()]);
    for (const tool of ["model", "folders"]) {
      const refused = failure(await callTool(host, tool, {}, never));
      expect(refused).toMatchObject({ kind: "tool_failed", retryable: false });
      expect(refused.message).toContain(`tool "${tool}" of MCP server "stateless"`);
    }
    expect(value(await callTool(host, "greet", {}, never)).content).toBe("good day");
  });

  test("sees the trace of the call, and not its baggage [mcp.trace]", async () => {
    const manager = new AsyncLocalStorageContextManager().enable();
    context.setGlobalContextManager(manager);
    propagation.setGlobalPropagator(
      new CompositePropagator({
        propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
      }),
    );
    const span = { traceId: "a".repeat(32), spanId: "b".repeat(16), traceFlags: 1 };
    const baggage = propagation.createBaggage({ customer: { value: "acme" } });
    const active = propagation.setBaggage(trace.setSpanContext(context.active(), span), baggage);
    const host = hostOf([server()]);
    const called = await context.with(active, () => callTool(host, "meta", {}, never));
    propagation.disable();
    context.disable();
    const meta = JSON.parse(String(value(called).content)) as object;
    expect(meta).toMatchObject({ traceparent: `00-${span.traceId}-${span.spanId}-01` });
    expect(meta).not.toHaveProperty("baggage");
  });

  test("that ends in the middle of an unsafe call leaves it in doubt, and the next call works [mcp.mid-call]", async () => {
    const host = hostOf([server()]);
    value(await host.list(never));
    const begun = performance.now();
    expect(failure(await callTool(host, "die", {}, never))).toMatchObject({
      kind: "in_doubt",
      retryable: false,
    });
    expect(performance.now() - begun).toBeLessThan(20_000);
    if ("url" in server()) {
      while (web?.exitCode === null) await sleep(20);
      await startWeb(Number(new URL(url).port));
    }
    await expect.poll(async () => (await callTool(host, "greet", {}, never)).ok).toBe(true);
  });

  test("hears that a call is cancelled [mcp.cancel]", async () => {
    const host = hostOf([server()]);
    value(await host.list(never));
    const abort = new AbortController();
    const call = callTool(host, "wait", {}, abort.signal);
    const cancelled = async () => value(await callTool(host, "was_cancelled", {}, never)).content;
    await expect.poll(cancelled).toBe("0 of 1");
    abort.abort();
    expect(failure(await call).kind).toBe("cancelled");
    // Over HTTP it is told by the end of a connection, which another one may overtake.
    await expect.poll(cancelled).toBe("1 of 1");
  });
});

describe("a server of the revisions with a handshake", () => {
  test("that ends when it is asked anything else first is started once more [mcp.eras]", async () => {
    const host = hostOf([raw("handshake-only")]);
    expect(value(await callTool(host, "fine", {}, never)).content).toBe("ok");
  });

  test("that says nothing to what it doesn't know is asked the older way after a while [mcp.eras]", async () => {
    const host = hostOf([raw("ignores")], 15_000);
    expect(value(await callTool(host, "fine", {}, never)).content).toBe("ok");
  });
});
