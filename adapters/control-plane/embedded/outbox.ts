import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../../../machines/contracts/ports/clock.ts";
import type { Store } from "./store.ts";

const batch = 64;
const firstPauseMs = 100;
const longestPauseMs = 5_000;
const closeMs = 2_000;

/** Carries jobs from the outbox table to the stream. */
export interface Outbox {
  /** There may be something to publish. Returns at once. */
  kick(): void;
  /** Whether the last attempt to publish failed. */
  failing(): boolean;
  /** Waits (two seconds at most) for what is being published; what is left is published after the next start. */
  close(): Promise<void>;
}

/**
 * A job is dropped from the table only after it was published, so a crash between the two publishes it twice:
 * the worker's store recognises duplicates. What can't be published is tried again with growing pauses.
 */
export function createOutbox(
  store: Store,
  publish: (fields: Record<string, string>) => Promise<unknown>,
  log: Log,
): Outbox {
  let running: Promise<void> | null = null;
  let again = false;
  const closing = new AbortController();
  const stopping = closing.signal;
  let pauseMs = 0;
  let timer: NodeJS.Timeout | undefined;

  const publishBatch = async (): Promise<"empty" | "more" | "failed"> => {
    const entries = store.outbox.first(batch);
    const outcomes = await Promise.allSettled(
      entries.map(async (entry) => publish({ data: entry.data })),
    );
    const published = entries.filter((_, at) => outcomes[at]?.status === "fulfilled");
    if (published.length > 0) {
      pauseMs = 0;
      store.outbox.drop(published.map((entry) => entry.seq));
    }
    const failed = outcomes.find((outcome) => outcome.status === "rejected");
    if (failed === undefined) return entries.length === 0 ? "empty" : "more";
    log.warn({ err: failed.reason, retryInMs: nextPause() }, "jobs could not be published");
    return "failed";
  };

  const nextPause = () => Math.min(Math.max(pauseMs * 2, firstPauseMs), longestPauseMs);

  const run = async () => {
    let outcome: "empty" | "more" | "failed" = "more";
    while ((outcome === "more" || again) && !stopping.aborted) {
      again = false;
      outcome = await publishBatch().catch((error: unknown) => {
        log.error({ err: error }, "the outbox could not be read or emptied");
        return "failed";
      });
      if (outcome === "failed") break;
    }
    running = null;
    pauseMs = outcome === "failed" ? nextPause() : 0;
    if (outcome === "failed" && !stopping.aborted) retryLater();
  };

  const retryLater = () => {
    timer = setTimeout(() => {
      timer = undefined;
      kick();
    }, pauseMs);
  };

  const kick = () => {
    again = true;
    // While a retry is due, new jobs wait for it: hammering a stream that is away helps nobody.
    if (running === null && timer === undefined && !stopping.aborted) running = run();
  };

  return {
    kick,
    failing: () => pauseMs > 0,
    async close() {
      closing.abort();
      clearTimeout(timer);
      // A stream that hangs must not keep us from closing: what it took is published again, which is allowed.
      await Promise.race([running, sleep(closeMs, undefined, { ref: false })]);
    },
  };
}
