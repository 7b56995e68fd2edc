import { setTimeout as sleep } from "node:timers/promises";
import type { LedgerWorkerOptions } from "./ledger-worker.ts";
import type { Child } from "./spawn-child.ts";
import { spawnWorker } from "./spawn-worker.ts";

export interface Troop {
  /** `fell`: workers that ended by themselves, as one does that starts while Redis is away. */
  counts(): { kills: number; pauses: number; fell: number };
  /** No more blows: the paused go on, all work for `ms` more, and are then drained. */
  settle(ms: number): Promise<void>;
  end(): Promise<void>;
}

const respawnMs = 500;

/**
 * Workers that are killed (SIGKILL) and replaced, or paused (SIGSTOP) for longer than their lease and continued,
 * one blow after the other at random.
 */
export function startTroop(options: {
  size: number;
  /** The mean time between two blows, milliseconds. */
  blowMs: number;
  random: () => number;
  worker: LedgerWorkerOptions;
  /** Grows with what was done: without that nobody is struck, or on a busy machine nothing would ever be done. */
  progress: () => number;
}): Troop {
  const { random, blowMs, worker, progress } = options;
  const counts = { kills: 0, pauses: 0, fell: 0 };
  const all = new Set<Child>();
  const over = new AbortController();
  const places: Child[] = [];
  const spawn = (place: number) => {
    const child = spawnWorker(worker);
    all.add(child);
    places[place] = child;
    void child.exited.then(async () => {
      all.delete(child);
      if (places[place] !== child || over.signal.aborted) return;
      counts.fell += 1;
      await sleep(respawnMs);
      if (places[place] === child && !over.signal.aborted) spawn(place);
    });
  };
  for (let place = 0; place < options.size; place += 1) spawn(place);
  const paused = new Map<Child, Promise<void>>();

  const pause = async (child: Child) => {
    child.signal("SIGSTOP");
    await sleep(worker.leaseMs * (1.1 + random()), undefined, { signal: over.signal }).catch(
      () => {},
    );
    child.signal("SIGCONT");
    paused.delete(child);
  };
  let struckAt = 0;
  const strike = () => {
    const at = Math.floor(random() * places.length);
    const child = places[at];
    if (child === undefined || child.hasExited() || progress() === struckAt) return;
    struckAt = progress();
    if (random() < 0.5) {
      // A paused one dies too: then it never learns what it missed.
      counts.kills += 1;
      spawn(at);
      child.signal("SIGKILL");
    } else if (!paused.has(child)) {
      counts.pauses += 1;
      paused.set(child, pause(child));
    }
  };
  const striking = (async () => {
    while (!over.signal.aborted) {
      const wait = blowMs * (0.5 + random());
      await sleep(wait, undefined, { signal: over.signal }).catch(() => {});
      if (!over.signal.aborted) strike();
    }
  })();

  return {
    counts: () => ({ ...counts }),
    async settle(ms) {
      over.abort();
      await striking;
      await Promise.all(paused.values());
      await sleep(ms);
      for (const child of all) child.signal("SIGTERM");
      const patience = sleep(worker.drainMs + 5_000, undefined, { ref: false });
      await Promise.race([Promise.all([...all].map(({ exited }) => exited)), patience]);
    },
    async end() {
      over.abort();
      await striking;
      await Promise.all([...all].map((child) => child.end()));
    },
  };
}
