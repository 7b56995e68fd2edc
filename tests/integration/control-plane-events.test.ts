import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { apiKey, startTestPlane, type TestPlane } from "./support/embedded-control-plane.ts";
import { value } from "./support/value.ts";
import { startFerrumDeckGateway } from "./support/ferrumdeck-gateway.ts";

const { signal } = new AbortController();
let plane: TestPlane;
let watch: AbortController;
beforeEach(async () => {
  plane = await startTestPlane();
  watch = new AbortController();
});
afterEach(async () => {
  watch.abort();
  await plane.close();
});

const refused = (kind: string) => ({ ok: false, failure: { kind } });

describe("watching runs", () => {
  it("tells each change of status as it happens, and ends when aborted", async () => {
    const told: string[] = [];
    const tell = (runId: string, status: string) => told.push(`${runId} ${status}`);
    const ended = watchRuns(plane.api, tell, watch.signal);
    await vi.waitFor(async () => {
      await plane.createRun();
      expect(told).not.toEqual([]);
    });
    const key = await plane.createRun();
    await plane.report(key, { status: "waiting_approval" }, { idempotencyKey: "w" });
    await plane.report(key, { status: "completed", output: 1 });
    const other = await plane.createRun();
    value(await plane.api.cancel(other.runId, signal));
    const expected = [
      `${key.runId} queued`,
      `${key.runId} waiting_approval`,
      `${key.runId} completed`,
      `${other.runId} queued`,
      `${other.runId} cancelled`,
    ];
    await vi.waitFor(() => expect(told).toEqual(expect.arrayContaining(expected)));
    watch.abort();
    expect(await ended).toEqual({ ok: true, value: null });
  });

  it("goes on after the control plane was away", async () => {
    const { port, url } = plane;
    const api = createControlPlaneApi({ url, apiKey, timeoutMs: 5_000 });
    const told: string[] = [];
    const ended = watchRuns(api, (runId) => told.push(runId), watch.signal);
    const follows = () =>
      vi.waitFor(async () => {
        const { runId } = await plane.createRun();
        await vi.waitFor(() => expect(told).toContain(runId), { timeout: 500 });
      }, 30_000);
    await follows();
    await plane.close();
    plane = await startTestPlane({ port });
    await follows();
    watch.abort();
    expect(await ended).toEqual({ ok: true, value: null });
    await api.close();
  });

  it("gives up where it is refused for good", async () => {
    const stranger = createControlPlaneApi({ url: plane.url, apiKey: "wrong", timeoutMs: 5_000 });
    const gateway = await startFerrumDeckGateway();
    const { url } = gateway;
    const reference = createControlPlaneApi({ url, apiKey: gateway.apiKey, timeoutMs: 5_000 });
    try {
      expect(await watchRuns(stranger, () => {}, watch.signal)).toMatchObject(
        refused("unauthorized"),
      );
      expect(await watchRuns(reference, () => {}, watch.signal)).toMatchObject(
        refused("not_found"),
      );
    } finally {
      await Promise.all([stranger.close(), reference.close(), gateway.close()]);
    }
  });
});
