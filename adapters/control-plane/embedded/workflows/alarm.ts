/** Rings once at the earliest time that was set; whoever hears it says when it is to ring next. */
export interface Alarm {
  /** Epoch milliseconds; null for nothing to wait for. */
  set(due: number | null): void;
  close(): void;
}

/** Longer waits than this are made in parts: a timer of Node's holds no more than 24 days. */
const longestMs = 3_600_000;
/** A clock that stands still, or was put back, must not keep the process busy. */
const shortestMs = 20;

/** It keeps no process alive. */
export function createAlarm(now: () => number, onRing: () => void): Alarm {
  let at: number | null = null;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;
  const ring = () => {
    at = null;
    if (!isClosed) onRing();
  };
  return {
    set(due) {
      if (due === null || isClosed || (at !== null && at <= due)) return;
      at = due;
      clearTimeout(timer);
      const waitMs = Math.min(longestMs, Math.max(shortestMs, due - now()));
      timer = setTimeout(ring, waitMs).unref();
    },
    close() {
      isClosed = true;
      clearTimeout(timer);
    },
  };
}
