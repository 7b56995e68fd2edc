const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** How long what was begun may take to be released after the second signal, milliseconds. */
const releaseMs = 3_000;

/** How the program is asked to end: once politely, twice now, a third time without another word. */
export interface Stopping {
  /** Aborted at the first signal. */
  readonly signal: AbortSignal;
  /** Aborted at the second: the process ends within three seconds, whatever does not. */
  readonly now: AbortSignal;
  /** As a signal does. */
  ask(): void;
  /** Lets go of the process's signals. */
  release(): void;
}

/** Listens to SIGINT, SIGTERM and SIGHUP of this process. */
export function listenForStop(): Stopping {
  const asked = new AbortController();
  const urged = new AbortController();
  let end: NodeJS.Timeout | undefined;
  const ask = () => {
    if (urged.signal.aborted) process.exit(130);
    if (!asked.signal.aborted) {
      asked.abort();
      return;
    }
    end = setTimeout(() => process.exit(130), releaseMs).unref();
    urged.abort();
  };
  for (const name of signals) process.on(name, ask);
  // Only a supervised process has such a channel: its supervisor is gone, and nobody would drain it.
  process.once("disconnect", ask);
  if (process.connected === false) ask();
  return {
    signal: asked.signal,
    now: urged.signal,
    ask,
    release: () => {
      clearTimeout(end);
      for (const name of signals) process.off(name, ask);
      process.off("disconnect", ask);
    },
  };
}
