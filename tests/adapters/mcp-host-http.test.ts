import { describe, expect, test } from "vitest";
import { failure } from "../support/failure.ts";
import { useMcpHosts } from "../support/mcp-hosts.ts";
import { value } from "../support/value.ts";
import { serveMcp } from "../support/web-mcp-server.ts";
import { callTool } from "../support/call-tool.ts";

const never = new AbortController().signal;
const { hostOf } = useMcpHosts();

describe("a server over HTTP", () => {
  test("is called like any other, and connected anew after it restarted", async () => {
    const first = await serveMcp();
    const headers = { Authorization: "Bearer token" };
    const host = hostOf([{ name: "web", url: first.url, headers }]);
    expect(value(await callTool(host, "greet", {}, never)).content).toBe("good day");
    await first.stop();
    const gone = failure(await callTool(host, "greet", {}, never));
    expect(gone).toMatchObject({ kind: "unavailable", retryable: true });
    const second = await serveMcp(first.port);
    await expect.poll(async () => (await callTool(host, "greet", {}, never)).ok).toBe(true);
    await host.close();
    await second.stop();
  });

  test("a lost session costs one call, and the next one has a new session", async () => {
    const first = await serveMcp();
    const headers = { Authorization: "Bearer token" };
    const host = hostOf([{ name: "web", url: first.url, headers }]);
    value(await host.list(never));
    first.forget();
    expect(failure(await callTool(host, "give", {}, never)).kind).toBe("unavailable");
    expect(value(await callTool(host, "give", {}, never)).content).toBe("good day");
    await host.close();
    await first.stop();
  });

  test("a server that does not know us is an unauthorized failure, not to be retried", async () => {
    const server = await serveMcp();
    const host = hostOf([{ name: "web", url: server.url }]);
    expect(failure(await host.list(never))).toMatchObject({
      kind: "unauthorized",
      retryable: false,
    });
    await host.close();
    await server.stop();
  });

  test.each([400, 404, 408, 409, 425, 429, 460, 499, 500, 502, 503, 504, 520])(
    "an unsafe call that is answered with %i alone may have run: it is in doubt, and a safe one is tried again [effect.unsafe-once]",
    async (status) => {
      const server = await serveMcp();
      const headers = { Authorization: "Bearer token" };
      const host = hostOf([{ name: "web", url: server.url, headers }]);
      value(await host.list(never));
      server.failCalls(status);
      expect(failure(await callTool(host, "give", {}, never))).toMatchObject({
        kind: "in_doubt",
        retryable: false,
      });
      expect(failure(await callTool(host, "greet", {}, never))).toMatchObject({
        kind: expect.stringMatching(/unavailable|rate_limited/u),
        retryable: true,
      });
      await host.close();
      await server.stop();
    },
  );
});
