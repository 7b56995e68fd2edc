import { fileURLToPath } from "node:url";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CallLimits } from "../../adapters/mcp/call-limits.ts";
import { failure } from "../support/failure.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const { hostOf, odd } = useMcpHosts();

describe("what a server's calls may take", () => {
  test("as many at once as server and tool may have, in order, and each place is given on [mcp.limits]", async () => {
    const calls = fc.array(
      fc.record({ tool: fc.constantFrom("a", "b"), turns: fc.nat(4), isGivenUp: fc.boolean() }),
      { minLength: 1, maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(calls, fc.integer({ min: 1, max: 4 }), async (given, concurrency) => {
        const toolLimits = { a: { concurrency: 1 } };
        const limits = new CallLimits({ name: "any", limits: { concurrency }, toolLimits }, 1_000);
        const inside = { a: 0, b: 0 };
        const entered: number[] = [];
        const one = async ({ tool, turns, isGivenUp }: (typeof given)[number], at: number) => {
          const giveUp = new AbortController();
          if (isGivenUp) void Promise.resolve().then(() => giveUp.abort());
          const allowance = await limits.enter(tool, giveUp.signal);
          if (!allowance.ok) return;
          entered.push(at);
          inside[tool as "a" | "b"] += 1;
          expect(inside.a + inside.b).toBeLessThanOrEqual(concurrency);
          expect(inside.a).toBeLessThanOrEqual(1);
          for (let turn = 0; turn < turns; turn += 1) await Promise.resolve();
          inside[tool as "a" | "b"] -= 1;
          allowance.value.leave();
        };
        await Promise.all(given.map(one));
        // Whoever did not give up had a turn, and nobody's place was lost.
        const patient = given.flatMap(({ isGivenUp }, at) => (isGivenUp ? [] : [at]));
        expect(patient.filter((at) => !entered.includes(at))).toEqual([]);
        for (let at = 0; at < concurrency; at += 1) {
          expect((await limits.enter("b", AbortSignal.timeout(50))).ok).toBe(true);
        }
      }),
      { numRuns: 100 },
    );
  });

  test("a call beyond the rate is told when to come again, and was not made [mcp.limits]", async () => {
    const host = hostOf([{ ...odd(), toolLimits: { pid: { callsPerMinute: 2 } } }]);
    value(await callTool(host, "pid", {}, never));
    value(await callTool(host, "pid", {}, never));
    const refused = failure(await callTool(host, "pid", {}, never));
    expect(refused).toMatchObject({ kind: "rate_limited", retryable: true });
    expect(refused.retryAfterMs).toBeGreaterThan(30_000);
    expect(refused.retryAfterMs).toBeLessThanOrEqual(60_000);
    value(await callTool(host, "meta", {}, never));
  });

  test("a tool's own time and size hold for it alone [mcp.limits]", async () => {
    const toolLimits = { wait: { timeoutMs: 300 }, environment: { outputBytes: 40 } };
    const host = hostOf([{ ...odd(), toolLimits }]);
    value(await host.list(never));
    const begun = performance.now();
    expect(failure(await callTool(host, "wait", {}, never)).kind).toBe("timeout");
    expect(performance.now() - begun).toBeLessThan(15_000);
    const large = failure(await callTool(host, "environment", {}, never));
    expect(large).toMatchObject({ kind: "too_large", retryable: false });
    expect(large.message).toContain("may give 40");
    value(await callTool(host, "pid", {}, never));
  });

  test("progress prolongs a call up to its hard maximum, and the server hears of that end [mcp.limits]", async () => {
    const raw = {
      ...odd(),
      args: [fileURLToPath(new URL("../support/raw-mcp-server.ts", import.meta.url))],
    };
    const host = hostOf([{ ...raw, limits: { timeoutMs: 3_000, maxTimeoutMs: 5_000 } }]);
    value(await host.list(never));
    const begun = performance.now();
    // It shows progress every quarter of a second for a minute, and would answer then.
    expect(failure(await callTool(host, "works", { times: 240 }, never))).toMatchObject({
      kind: "timeout",
    });
    expect(performance.now() - begun).toBeGreaterThan(3_500);
  });
});
