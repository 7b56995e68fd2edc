import { createParser, type EventSourceMessage } from "eventsource-parser";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { createRunEvents } from "../../adapters/control-plane/embedded/run-events.ts";
import { watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { apiKey, startTestPlane, type TestPlane } from "../support/embedded-control-plane.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";

let plane: TestPlane;
beforeAll(async () => {
  plane = await startTestPlane();
});
afterAll(() => plane.close());

/** The events of `/v1/events` until there are as many as are wanted. */
async function follow(most: number, lastId?: string): Promise<EventSourceMessage[]> {
  const stop = new AbortController();
  const response = await fetch(`${plane.url}/v1/events`, {
    headers: {
      authorization: `Bearer ${apiKey}`,
      ...(lastId === undefined ? {} : { "last-event-id": lastId }),
    },
    signal: stop.signal,
  });
  const told: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (event) => told.push(event) });
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    if (told.length >= most) break;
  }
  stop.abort();
  return told.slice(0, most);
}

describe("a stream of events that broke", () => {
  it("goes on after the last id that its client had, with nothing missing or twice [events.resumed]", async () => {
    const [connected] = await follow(1);
    expect(connected).toMatchObject({ event: "connected", data: "{}" });
    const runs: string[] = [];
    for (let made = 0; made < 9; made += 1) runs.push((await plane.createRun()).runId);
    const told: string[] = [];
    let lastId = connected?.id;
    for (const most of [2, 3, 1, 3]) {
      const some = await follow(most, lastId);
      lastId = some.at(-1)?.id;
      told.push(...some.map(({ data }) => String((JSON.parse(data) as { run_id: string }).run_id)));
    }
    expect(told).toEqual(runs);
    expect(await follow(1, lastId)).toMatchObject([{ event: "connected", id: lastId }]);
  });

  it("is told that events are gone, and the runs that have not ended, where its id is no longer known [events.gone]", async () => {
    const { runId } = await plane.createRun();
    const over = await plane.createRun();
    await plane.fetch("POST", `/v1/runs/${over.runId}/cancel`);
    for (const id of ["000000000000-1", "nonsense", "", `${"9".repeat(30)}-1`]) {
      const [missed] = await follow(1, id);
      expect(missed?.event).toBe("missed");
      const { runs, complete } = JSON.parse(missed?.data ?? "") as {
        runs: { run_id: string; status: string }[];
        complete: boolean;
      };
      expect(complete).toBe(true);
      expect(runs).toContainEqual({ run_id: runId, status: "queued" });
      expect(runs.map(({ run_id }) => run_id)).not.toContain(over.runId);
    }
  });

  it("is kept for a bounded number of its tenant's events, whose end is told exactly, however many others there are [events.resumed]", () => {
    const tenants = ["a", "b", "c"];
    const moves = fc.array(fc.constantFrom(...tenants), { maxLength: 60 });
    fc.assert(
      fc.property(moves, fc.constantFrom(...tenants, null), fc.nat(45), (moved, who, from) => {
        const most = { all: 12, tenant: 8 };
        const events = createRunEvents(most);
        const channel = events.channel(who);
        const live: (string | null)[] = [];
        channel.subscribe({ onEvent: ({ id }) => live.push(id), onClose() {} });
        const life = channel.newest().split("-")[0];
        moved.forEach((tenantId, n) => {
          events.tell({ runId: `${tenantId}${n}`, status: "queued", tenantId });
        });
        const own = moved.flatMap((tenantId, n) =>
          who === null || tenantId === who ? [`${tenantId}${n}`] : [],
        );
        expect(live).toEqual(own.map((_, at) => `${life}-${at + 1}`));
        const after = channel.after(`${life}-${from}`)?.map(({ data }) => data.run_id);
        const kept = who === null ? most.all : most.tenant;
        const isKnown = from <= own.length && own.length - from <= kept;
        expect(after ?? null).toEqual(isKnown ? own.slice(from) : null);
        // An id of another's stream is none of this one's.
        const other = events.channel(who === "a" ? "b" : "a");
        expect(channel.after(other.newest())).toBeNull();
      }),
    );
  });

  it("misses nothing by our own client, whose connection breaks [events.resumed]", async () => {
    const proxy = await startTcpProxy(plane.port);
    const api = createControlPlaneApi({
      url: `http://127.0.0.1:${proxy.port}`,
      apiKey,
      timeoutMs: 5_000,
    });
    const stop = new AbortController();
    const told = new Set<string>();
    const ended = watchRuns(api, (runId) => told.add(runId), stop.signal);
    await vi.waitFor(async () => {
      await plane.createRun();
      expect(told.size).toBeGreaterThan(0);
    }, 20_000);
    proxy.cut();
    const missed = [await plane.createRun(), await plane.createRun()].map(({ runId }) => runId);
    await vi.waitFor(() => expect([...told]).toEqual(expect.arrayContaining(missed)), 20_000);
    stop.abort();
    await ended;
    await api.close();
    await proxy.stop();
  });
});
