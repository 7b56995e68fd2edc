import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type ControlPlaneApi, createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { listen } from "../support/listen.ts";
import { type GatewayOptions, startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";

const { signal } = new AbortController();
const toClose: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of toClose.splice(0).toReversed()) await close();
});

function connect(url: string, apiKey = "fd_dev_key_abc123", timeoutMs = 5_000): ControlPlaneApi {
  const api = createControlPlaneApi({ url, apiKey, timeoutMs });
  toClose.push(() => api.close());
  return api;
}

async function gatewayThat(failing: GatewayOptions["failing"]) {
  const gateway = await startFerrumDeckGateway(failing === undefined ? {} : { failing });
  toClose.push(() => gateway.close());
  return { gateway, api: connect(gateway.url) };
}

/** Takes connections and never answers; tells how many it has taken. */
async function silentServer() {
  let taken = 0;
  const server = createServer((socket) => {
    taken++;
    toClose.push(async () => void socket.destroy());
  });
  const port = await listen(server);
  toClose.push(async () => void server.close());
  return { url: `http://127.0.0.1:${port}`, port, server, taken: () => taken };
}

const limited = (retryAfterMs: number) => ({
  ok: false,
  failure: { kind: "rate_limited", retryable: true, retryAfterMs },
});

const unreadable = (text: string) => ({
  ok: false,
  failure: { kind: "unavailable", retryable: true, message: expect.stringContaining(text) },
});

describe("the control plane's client", () => {
  it("finds a control plane that is away unavailable, and worth another try", async () => {
    const { server, url } = await silentServer();
    server.close();
    await once(server, "close");
    expect(await connect(url).run("run_1", signal)).toEqual({
      ok: false,
      failure: {
        kind: "unavailable",
        retryable: true,
        message: `GET /v1/runs/run_1 at ${url}: ECONNREFUSED`,
      },
    });
  });

  it("gives up at its deadline, and at once when cancelled", async () => {
    const { url } = await silentServer();
    const api = connect(url, "key", 100);
    expect(await api.run("run_1", signal)).toMatchObject({
      failure: { kind: "unavailable", retryable: true, message: expect.stringContaining("100 ms") },
    });
    const patient = connect(url, "key", 60_000);
    const stop = new AbortController();
    const calls = [
      patient.run("run_1", stop.signal),
      createControlPlane(patient).extensions(stop.signal),
    ];
    setTimeout(() => stop.abort(), 20);
    for (const call of calls) {
      expect(await call).toMatchObject({ failure: { kind: "cancelled", retryable: false } });
    }
    expect(await patient.run("run_1", stop.signal)).toMatchObject({
      failure: { kind: "cancelled" },
    });
  });

  it("waits as long as it is told to, a minute at most", async () => {
    let header = "7";
    const { api } = await gatewayThat(() => ({
      status: 429,
      headers: { "retry-after": header },
      body: { error: { code: "RATE_LIMIT_EXCEEDED", message: "slow down", retry_after: 9 } },
    }));
    expect(await api.run("run_1", signal)).toMatchObject(limited(7_000));
    header = "86400";
    expect(await api.run("run_1", signal)).toMatchObject(limited(60_000));
    header = "soon";
    expect(await api.run("run_1", signal)).toMatchObject(limited(9_000));
  });

  it("finds a gateway in trouble unavailable, whatever it answers with", async () => {
    const { api } = await gatewayThat(() => ({ status: 502, body: "<html>Bad Gateway</html>" }));
    expect(await api.run("run_1", signal)).toMatchObject({
      failure: { kind: "unavailable", retryable: true, details: { status: 502 } },
    });
  });

  it("says what was expected of an answer out of contract, and takes it for passing trouble", async () => {
    let body: unknown = { id: "run_1", status: "dancing" };
    const { api } = await gatewayThat(() => ({ status: 200, body }));
    expect(await api.run("run_1", signal)).toMatchObject(unreadable("a run status"));
    expect(await api.runs("p", 1, 0, signal)).toMatchObject(unreadable("runs must be an array"));
    body = { allowed: "yes" };
    const check = { runId: "run_1", toolName: "t", toolInput: {} };
    const checked = await createControlPlane(api).checkTool(check, signal);
    expect(checked).toMatchObject(unreadable("allowed must be boolean"));
  });

  it("never tells its key, not even when the server does", async () => {
    const key = "fd_dev_key_abc123";
    const { api } = await gatewayThat(() => ({
      status: 401,
      body: { error: { code: "UNAUTHORIZED", message: `unknown key ${key}` } },
    }));
    const answer = await api.run("run_1", signal);
    expect(answer).toMatchObject({ failure: { kind: "unauthorized", retryable: false } });
    expect(JSON.stringify(answer)).not.toContain(key);
    expect(() => connect("http://127.0.0.1", "two\nlines-s3cret")).toThrow(/visible ASCII/);
    expect(() => connect("http://127.0.0.1", "two\nlines-s3cret")).not.toThrow(/s3cret/);
  });

  it("refuses an address that is not HTTP", () => {
    for (const url of ["", "localhost:8080", "ftp://host", "http://host?x=1"]) {
      expect(() => connect(url)).toThrow("expected http(s)://host[:port][/path]");
    }
  });

  it("keeps ids inside their place in the path, and a prefix before it", async () => {
    const { gateway } = await gatewayThat(() => ({ status: 404, body: "" }));
    const api = connect(`${gateway.url}/proxy/`);
    await api.run("../../admin?x=1", signal);
    expect(gateway.requests[0]?.path).toBe("/proxy/v1/runs/..%2F..%2Fadmin%3Fx%3D1");
  });

  it("keeps its connections: a hundred calls in a row share them", async () => {
    const { gateway, api } = await gatewayThat(undefined);
    const ports = new Set<unknown>();
    for (let call = 0; call < 100; call++) await api.run("run_1", signal);
    for (const request of gateway.requests) ports.add(request.port);
    expect(gateway.requests).toHaveLength(100);
    // The pool may open a second one for a call made just as the first is being freed.
    expect(ports.size).toBeLessThanOrEqual(2);
  });

  it("does not keep the failure to learn the extensions, and holds reports back meanwhile", async () => {
    let away = true;
    const { gateway, api } = await gatewayThat(() => (away ? { status: 503, body: "" } : null));
    const worker = createControlPlane(api);
    const report = { runId: "run_1", stepId: "stp_1", fence: 1, idempotencyKey: "k" };
    const send = () => worker.report({ ...report, body: { status: "completed" } }, signal);
    expect(await send()).toMatchObject({ failure: { kind: "unavailable", retryable: true } });
    away = false;
    expect(await send()).toEqual({ ok: true, value: "accepted" });
    expect(gateway.results()).toHaveLength(1);
  });

  it("passes over extensions it has never heard of", async () => {
    const body = { status: "healthy", version: "1", extensions: ["approvals", "telepathy"] };
    const { api } = await gatewayThat(() => ({ status: 200, body }));
    const extensions = await createControlPlane(api).extensions(signal);
    expect(extensions).toEqual({ ok: true, value: new Set(["approvals"]) });
  });
});
