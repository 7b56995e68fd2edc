const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** How the program is asked to end: once politely, twice now, a third time without another word. */
export interface Stopping {
  /** Aborted at the first signal. */
  readonly signal: AbortSignal;
  /** Aborted at the second. */
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
  const onSignal = () => {
    if (urged.signal.aborted) process.exit(130);
    if (asked.signal.aborted) urged.abort();
    else asked.abort();
  };
  for (const name of signals) process.on(name, onSignal);
  // Only a supervised process has such a channel: its supervisor is gone, and nobody would drain it.
  process.once("disconnect", onSignal);
  if (process.connected === false) onSignal();
  return {
    signal: asked.signal,
    now: urged.signal,
    ask: onSignal,
    release: () => {
      for (const name of signals) process.off(name, onSignal);
      process.off("disconnect", onSignal);
    },
  };
}
