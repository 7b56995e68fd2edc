import type { RunStatus } from "../../../machines/contracts/domain/status.ts";

export interface RunChange {
  runId: string;
  status: RunStatus;
}

interface Listener {
  onChange(change: RunChange): void;
  onClose(): void;
}

/** Tells every open event stream of each run's change of status. */
export interface RunEvents {
  tell(change: RunChange): void;
  /** Returns what ends the subscription. */
  subscribe(listener: Listener): () => void;
  close(): void;
}

export function createRunEvents(): RunEvents {
  const listeners = new Set<Listener>();
  return {
    tell(change) {
      for (const listener of listeners) listener.onChange(change);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      for (const listener of listeners) listener.onClose();
      listeners.clear();
    },
  };
}
