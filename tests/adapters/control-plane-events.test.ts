import { createServer, type ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { watchRun, watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import { value } from "../support/value.ts";
import { startFerrumDeckGateway } from "../support/ferrumdeck-gateway.ts";
import { listen } from "../support/listen.ts";

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
    await vi.waitFor(
      async () => {
        await plane.createRun();
        expect(told).not.toEqual([]);
      },
      { timeout: 20_000 },
    );
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
    await vi.waitFor(() => expect(told).toEqual(expect.arrayContaining(expected)), {
      timeout: 20_000,
    });
    watch.abort();
    expect(await ended).toEqual({ ok: true, value: null });
  });

  it("tells what models say, piece by piece, to whoever asks for it [events.text]", async () => {
    const said: string[] = [];
    const changes = () => {};
    const ended = watchRuns(plane.api, changes, watch.signal, (piece) => {
      said.push(`${piece.runId} ${piece.stepId} ${piece.text}`);
    });
    const { runId, stepId } = await plane.createRun();
    const other = await plane.createRun();
    const tell = async (...texts: string[]) =>
      value(
        (await plane.worker.tellTexts?.(
          texts.map((text) => ({ runId, stepId, text })),
          signal,
        )) ?? ok(null),
      );
    await vi.waitFor(
      async () => {
        await tell("");
        expect(said).not.toEqual([]);
      },
      { timeout: 20_000 },
    );
    said.length = 0;
    // Of a step that its run does not have, nothing is passed on.
    await plane.worker.tellTexts?.([{ runId, stepId: other.stepId, text: "?" }], signal);
    await tell("Good ", "morn");
    await tell("ing\n🌍");
    const expected = ["Good ", "morn", "ing\n🌍"].map((piece) => `${runId} ${stepId} ${piece}`);
    // Some of the empty texts that waited for the stream may come late.
    const told = () => said.filter((line) => line !== `${runId} ${stepId} `);
    await vi.waitFor(() => expect(told()).toEqual(expected), { timeout: 20_000 });
    watch.abort();
    await ended;
  });

  it("goes on after the control plane was away", async () => {
    const { port, url } = plane;
    const api = createControlPlaneApi({ url, apiKey, timeoutMs: 5_000 });
    const told: string[] = [];
    const ended = watchRuns(api, (runId) => told.push(runId), watch.signal);
    const follows = async () => {
      const made: string[] = [];
      const isTold = async () => {
        made.push((await plane.createRun()).runId);
        return made.some((runId) => told.includes(runId));
      };
      await expect.poll(isTold, { interval: 200 }).toBe(true);
    };
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

describe("watching one run of a gateway that has a channel a run", () => {
  it("hints at each connection and each event, and ends when aborted", async () => {
    const gateway = await startFerrumDeckGateway({ hasChannels: true });
    const api = createControlPlaneApi({ ...gateway, timeoutMs: 5_000 });
    try {
      let hints = 0;
      const ended = watchRun(api, "run_1", () => (hints += 1), watch.signal);
      await vi.waitFor(() => expect(hints).toBe(1), { timeout: 20_000 });
      value(await api.cancel("run_1", signal));
      await vi.waitFor(() => expect(hints).toBe(2), { timeout: 20_000 });
      value(await api.cancel("run_2", signal));
      watch.abort();
      expect(await ended).toEqual({ ok: true, value: null });
      expect(hints).toBe(2);
    } finally {
      await Promise.all([api.close(), gateway.close()]);
    }
  });

  it("says so where there is no such channel, and where the id is none", async () => {
    const gateway = await startFerrumDeckGateway();
    const api = createControlPlaneApi({ ...gateway, timeoutMs: 5_000 });
    try {
      const hint = () => {};
      expect(await watchRun(api, "run_1", hint, watch.signal)).toMatchObject(refused("not_found"));
      expect(await watchRun(api, "..", hint, watch.signal)).toMatchObject(refused("refused"));
    } finally {
      await Promise.all([api.close(), gateway.close()]);
    }
  });
});

/** A server whose event stream is written by the test, once a connection. */
async function streaming(write: (response: ServerResponse, connection: number) => void) {
  let connections = 0;
  const server = createServer((_, response) => {
    connections += 1;
    response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8" });
    write(response, connections);
  });
  const url = `http://127.0.0.1:${await listen(server)}`;
  const api = createControlPlaneApi({ url, apiKey, timeoutMs: 5_000 });
  return {
    api,
    connections: () => connections,
    async close() {
      await api.close();
      server.closeAllConnections();
      server.close();
    },
  };
}

describe("an event stream", () => {
  it("is cut into the same events wherever its bytes are cut", async () => {
    const text =
      ': é\n\nevent: run\r\ndata: {"run_id":"é1",\r\ndata: "status":"queued"}\r\n\r\nid: 3\nretry: 1\n\n' +
      'event: other\ndata: {"run_id":"no","status":"queued"}\n\nevent: run\ndata: nonsense\n\n' +
      'event: run\ndata:{"run_id":"r2","status":"waitingapproval"}\n\n';
    const bytes = Buffer.from(text);
    const server = await streaming((response) => {
      // Each size in turn, each piece in a packet of its own.
      void (async () => {
        for (let size = 1; size < 40; size += 3) {
          for (let at = 0; at < bytes.length; at += size) {
            response.write(bytes.subarray(at, at + size));
            await new Promise(setImmediate);
          }
        }
      })();
    });
    try {
      const told: string[] = [];
      const tell = (runId: string, status: string) => told.push(`${runId} ${status}`);
      void watchRuns(server.api, tell, watch.signal);
      await vi.waitFor(() => expect(told).toHaveLength(26), 20_000);
      const expected = Array.from({ length: 13 }, () => ["é1 queued", "r2 waiting_approval"]);
      expect(told).toEqual(expected.flat());
    } finally {
      watch.abort();
      await server.close();
    }
  });

  it.each(["data: ", "x", "data: a\n"])(
    "is cut off when an event of %j never ends, and connected again [http.bound]",
    async (piece) => {
      const endless = piece.repeat(Math.ceil((64 * 1024) / piece.length));
      let written = 0;
      const server = await streaming((response, connection) => {
        if (connection > 1) {
          response.write('event: run\ndata: {"run_id":"r","status":"queued"}\n\n');
          return;
        }
        const more = () => {
          while (!response.destroyed && written < 64 * 1024 * 1024 && response.write(endless)) {
            written += endless.length;
          }
          if (written >= 64 * 1024 * 1024) response.end();
          else if (!response.destroyed) response.once("drain", more);
        };
        more();
      });
      try {
        const told: string[] = [];
        void watchRuns(server.api, (runId) => told.push(runId), watch.signal);
        await vi.waitFor(() => expect(told).toEqual(["r"]), 20_000);
        expect(server.connections()).toBe(2);
        // Lines that are no field are dropped unread, so only what is kept is bounded.
        if (piece.startsWith("data")) expect(written).toBeLessThan(16 * 1024 * 1024);
      } finally {
        watch.abort();
        await server.close();
      }
    },
  );
});
