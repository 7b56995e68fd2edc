import { connect } from "node:net";
import * as fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Entry } from "../../adapters/console/inspector/entries.ts";
import { Feed } from "../../adapters/console/inspector/feed.ts";
import { startInspector } from "../../adapters/console/inspector/serve.ts";
import type { InspectionListener } from "../../machines/contracts/ports/inspection.ts";

/** A worker's machines, as its feed hears of them. */
class Machines {
  readonly feed = new Feed(Date.now);
  /** Of those that watch now. */
  listeners = new Set<InspectionListener>();
  readonly alive = new Map<number, string>();
  #made = 0;

  constructor() {
    this.feed.attach({
      watch: (listener) => {
        for (const [n, value] of this.alive) {
          this.#appear(listener, n);
          this.#move(listener, n, value, null);
        }
        this.listeners.add(listener);
        return { catchUp: () => {}, stop: () => this.listeners.delete(listener) };
      },
    });
  }

  #appear(to: InspectionListener, n: number): void {
    const key = { runId: `run_${n % 3}`, stepId: `stp_${n}` };
    const about = { machine: "step", parent: null, about: null, passed: [] };
    to.appeared({ id: `x:${n}`, name: key.stepId, ...about, ...key, stepType: "tool" });
  }

  #move(
    to: InspectionListener,
    n: number,
    value: string,
    detail: object | null,
    context: unknown = { n },
  ): void {
    const about = { source: null, status: "active", context } as const;
    to.moved({ id: `x:${n}`, event: "it.moved", detail, value, ...about, at: Date.now() });
  }

  begin(): void {
    this.#made += 1;
    const n = this.#made;
    this.alive.set(n, "pending");
    for (const one of this.listeners) this.#appear(one, n);
    this.move(n, "pending");
  }

  move(n: number, value: string, context?: unknown): void {
    if (!this.alive.has(n)) return;
    this.alive.set(n, value);
    for (const one of this.listeners) this.#move(one, n, value, {}, context);
  }

  end(n: number, outcome: string): void {
    if (!this.alive.delete(n)) return;
    const key = { runId: `run_${n % 3}`, stepId: `stp_${n}` };
    const passed = ["pending", "executing"];
    const actorId = `x:${n}`;
    this.feed.ended({ ...key, actorId, stepType: "tool", passed, state: "settled", outcome });
  }
}

type Seen = Map<number, string>;
const shownOf = ({ value, outcome, moves }: Entry) => `${value} ${outcome} ${moves}`;

describe("what an inspector keeps, and tells", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("makes of what a page is told, whenever it comes and goes, what there is [inspector.bounded]", () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.constant({ do: "begin" as const }) },
      {
        weight: 6,
        arbitrary: fc.record({
          do: fc.constant("move" as const),
          n: fc.nat(40),
          to: fc.constantFrom("pending", "executing.working", "validating"),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant("end" as const),
          n: fc.nat(40),
          outcome: fc.constantFrom("completed", "failed", "parked"),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("look" as const) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const) }) },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant("wait" as const),
          ms: fc.constantFrom(1, 60, 300, 6_000),
        }),
      },
    );
    fc.assert(
      fc.property(fc.nat(250), fc.array(step, { maxLength: 80 }), (before, steps) => {
        const machines = new Machines();
        const { feed } = machines;
        // Steps that nobody saw, past those that are recorded for later or not.
        for (let n = 1; n <= before; n += 1) {
          machines.begin();
          machines.end(n, "completed");
        }
        let seen: Seen | null = null;
        let leave = () => {};
        for (const one of steps) {
          if (one.do === "begin") machines.begin();
          else if (one.do === "move") machines.move(before + one.n, one.to);
          else if (one.do === "end") machines.end(before + one.n, one.outcome);
          else if (one.do === "wait") vi.advanceTimersByTime(one.ms);
          else if (one.do === "leave") {
            leave();
            seen = null;
          } else if (seen === null) {
            const page: Seen = new Map();
            seen = page;
            leave = feed.onBatch(({ changed, gone }) => {
              for (const entry of changed) page.set(entry.id, shownOf(entry));
              for (const id of gone) page.delete(id);
            });
            for (const entry of feed.entries()) page.set(entry.id, shownOf(entry));
          }
        }
        vi.advanceTimersByTime(300);
        const all = [...feed.entries()];
        if (seen !== null) {
          expect(seen).toEqual(new Map(all.map((entry) => [entry.id, shownOf(entry)])));
          const alive = all.filter(({ outcome }) => outcome === null);
          // Each machine that is alive is seen where it is.
          expect(alive.map(({ value }) => value).sort()).toEqual(
            [...machines.alive.values()].sort(),
          );
        }
        expect(machines.listeners.size).toBe(feed.isRecording ? 1 : 0);
        feed.close();
        expect(machines.listeners.size).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("records the first 200 steps for later, then watches only while somebody looks, and shortly after [inspector.idle]", () => {
    const machines = new Machines();
    const { feed } = machines;
    const many = (count: number, perSecond = Number.POSITIVE_INFINITY) => {
      for (let n = 0; n < count; n += 1) {
        vi.advanceTimersByTime(1_000 / perSecond);
        machines.begin();
        const [newest = 0] = [...machines.alive.keys()].slice(-1);
        machines.end(newest, "completed");
      }
    };
    many(199);
    expect(machines.listeners.size).toBe(1);
    many(1);
    expect(machines.listeners.size).toBe(0);
    many(1_000, 100);
    // More than anybody could look at, in a tenth of a second of their own: of them some, and the newest.
    vi.advanceTimersByTime(100);
    many(1_000);
    many(1);
    const leave = feed.onBatch(() => {});
    expect(machines.listeners.size).toBe(1);
    // The recorded ones, and of those that nobody looked at the newest, with their states.
    const entries = [...feed.entries()];
    expect(entries).toHaveLength(400);
    const ofTheFlood = entries.filter(({ actor }) => Number(actor.name.slice(4)) > 1_200);
    expect(ofTheFlood).toHaveLength(20);
    expect(entries.at(-1)?.actor.name).toBe("stp_2201");
    expect(entries.at(-1)).toMatchObject({
      outcome: "completed",
      actor: { passed: ["pending", "executing"] },
    });
    leave();
    vi.advanceTimersByTime(4_000);
    expect(machines.listeners.size).toBe(1);
    vi.advanceTimersByTime(2_000);
    expect(machines.listeners.size).toBe(0);
  });

  it("shows a step as it is, also where its sessions end in a flood that nobody looks at [inspector.idle]", () => {
    const feed = new Feed(Date.now);
    const end = (stepId: string, actorId: string, state: string, outcome: string) =>
      feed.ended({ runId: "run", stepId, actorId, stepType: "llm", passed: [], state, outcome });
    const flood = (from: string) => {
      for (let n = 0; n < 100; n += 1) end(`${from}_${n}`, `${from}:${n}`, "settled", "completed");
    };
    for (let n = 0; n < 200; n += 1) end(`early_${n}`, `e:${n}`, "settled", "completed");
    vi.advanceTimersByTime(1_000);
    end("held", "h:1", "parked", "parked");
    flood("first");
    end("held", "h:2", "settled", "completed");
    flood("second");
    feed.onBatch(() => {});
    const held = [...feed.entries()].filter(({ actor }) => actor.stepId === "held");
    expect(held.map(({ outcome }) => outcome)).toEqual(["parked", "completed"]);
  });

  it("keeps a session that goes on apart from one that lost its lease, and from those that end unwatched", () => {
    const feed = new Feed(Date.now);
    const key = { runId: "run", stepId: "twice" };
    const end = (stepId: string, actorId: string, state: string) =>
      feed.ended({
        runId: "run",
        stepId,
        actorId,
        stepType: "llm",
        passed: [],
        state,
        outcome: state,
      });
    const appear = (id: string) =>
      feed.appeared({
        id,
        machine: "step",
        name: "twice",
        parent: null,
        about: null,
        passed: [],
        ...key,
        stepType: "llm",
      });
    const leave = feed.onBatch(() => {});
    appear("x:1");
    appear("x:2");
    end("twice", "x:1", "abandoned");
    expect([...feed.entries()].map(({ actor, outcome }) => [actor.id, outcome])).toEqual([
      ["x:1", "abandoned"],
      ["x:2", null],
    ]);
    leave();
    for (let n = 0; n < 20_000; n += 1) end(`other_${n}`, `o:${n}`, "settled");
    vi.advanceTimersByTime(10_000);
    const before = [...feed.entries()].length;
    for (let n = 0; n < 20_000; n += 1) end(`more_${n}`, `m:${n}`, "settled");
    // Though one is at work: nobody looks, and no entry is made.
    expect([...feed.entries()].length).toBe(before);
    end("twice", "x:2", "settled");
    expect([...feed.entries()].find(({ actor }) => actor.id === "x:2")?.outcome).toBe("settled");
  });

  it("keeps within bounds whatever happens in a day: machines, moments, lines and contexts [inspector.bounded]", () => {
    const machines = new Machines();
    const { feed } = machines;
    feed.onBatch(() => {});
    const large = "x".repeat(1024 * 1024);
    for (let n = 1; n <= 5_000; n += 1) {
      machines.begin();
      for (let turn = 0; turn < 20; turn += 1)
        machines.move(n, `state-${turn}`, { n, text: large });
      if (n % 10 !== 0) machines.end(n, "completed");
      if (n % 50 === 0) vi.advanceTimersByTime(1_000);
    }
    for (let turn = 0; turn < 1_000; turn += 1) machines.move(10, `state-${turn}`);
    const entries = [...feed.entries()];
    const ended = entries.filter(({ outcome }) => outcome !== null);
    expect(machines.alive.size).toBe(500);
    expect(entries).toHaveLength(2_500);
    expect(Math.max(...entries.map(({ moments }) => moments.length))).toBe(100);
    expect(feed.log(1_000_000).length).toBeLessThanOrEqual(4_000);
    // Each is said to be 2 MiB: 16 of them are 32 MiB.
    const withContexts = ended.filter(({ moments }) =>
      moments.some(({ context }) => context !== undefined),
    );
    expect(withContexts.length).toBeGreaterThan(0);
    expect(withContexts.length).toBeLessThanOrEqual(16);
    feed.close();
  });
});

/** The steps that ended as a page has them that was sent this: in a row, and in none. */
function endedOf(text: string): number {
  // In chunks, of which each has its length in a line before it.
  const body = text.replaceAll(/\r\n[\da-f]+\r\n/g, "");
  let rows = new Map<number, unknown[]>();
  let unseen = 0;
  for (const [, kind, data = ""] of body.matchAll(/^event: (\w+)\ndata: (.*)\n\n/gm)) {
    const sent = JSON.parse(data);
    if (kind === "all") rows = new Map();
    for (const row of sent.rows) rows.set(row[0], row);
    unseen = sent.unseen;
  }
  return [...rows.values()].filter((row) => row[8] !== null).length + unseen;
}

it("queues nothing for pages that stand still, however many there are, and tells them everything when they go on, with how many steps are in no row [inspector.bounded]", async () => {
  const machines = new Machines();
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const { feed } = machines;
  const inspector = await startInspector({
    feed,
    machines: {},
    find: async () => null,
    host: "127.0.0.1",
    port: 0,
    hide: (text) => text,
    log,
  });
  const { port, host } = new URL(inspector.url);
  const request = `GET /inspect/stream HTTP/1.1\r\nhost: ${host}\r\nauthorization: Bearer ${inspector.token}\r\n\r\n`;
  const pages = Array.from({ length: 20 }, () => {
    const socket = connect(Number(port), "127.0.0.1").setEncoding("utf8");
    const page = { socket, text: "" };
    socket.on("data", (part) => (page.text += String(part)));
    socket.write(request);
    return page;
  });
  try {
    await expect.poll(() => pages.every(({ text }) => text.includes("\r\n\r\n"))).toBe(true);
    const open = pages.filter(({ text }) => text.startsWith("HTTP/1.1 200"));
    const refused = pages.filter(({ text }) => text.startsWith("HTTP/1.1 503"));
    expect([open.length, refused.length]).toEqual([16, 4]);
    for (const { socket } of open) socket.pause();
    for (let n = 0; n < 3_000; n += 1) machines.begin();
    // Each batch is all of them, some two megabytes; the socket's own buffers take the first.
    const long = "x".repeat(500);
    for (let turn = 0; turn < 40; turn += 1) {
      for (let n = 1; n <= 3_000; n += 1) machines.move(n, `state-${turn}-${long}`);
      for (let n = 0; n < 100; n += 1) {
        const about = { runId: "run", stepId: `ended_${turn}_${n}`, actorId: `e:${turn}:${n}` };
        const end = { state: "settled", outcome: "completed" };
        feed.ended({ ...about, stepType: "tool", passed: [], ...end });
      }
      // oxlint-disable-next-line no-await-in-loop -- a batch is made of what happened by then
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    for (const { socket } of open) socket.resume();
    for (const page of open) {
      // oxlint-disable-next-line no-await-in-loop -- each of them gets there
      await expect
        .poll(() => page.text.slice(page.text.lastIndexOf("event: all")).split("state-39").length, {
          timeout: 20_000,
        })
        .toBeGreaterThan(3_000);
      await expect.poll(() => endedOf(page.text)).toBe(4_000);
      // Told everything a second time: it was behind.
      expect(page.text.split("event: all\n").length - 1).toBeGreaterThan(1);
      expect(page.text.length).toBeLessThan(16 * 1024 * 1024);
    }
  } finally {
    for (const { socket } of pages) socket.destroy();
    await inspector.close();
  }
});
