import type { RunStatus } from "../../../machines/contracts/domain/status.ts";

export interface RunChange {
  runId: string;
  status: RunStatus;
}

/** A piece of what a model says, as it comes. */
export interface RunText {
  runId: string;
  stepId: string;
  text: string;
  /** What was said before it is void. */
  restart: boolean;
}

/** A step that is to stop though its run goes on. */
export interface StepStop {
  runId: string;
  stepId: string;
}

interface Listener {
  onChange(change: RunChange): void;
  onText(text: RunText): void;
  onStop(stop: StepStop): void;
  onClose(): void;
}

/** Tells every open event stream of each run's change of status, and of what models say in its workers. */
export interface RunEvents {
  tell(change: RunChange): void;
  tellText(text: RunText): void;
  tellStop(stop: StepStop): void;
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
    tellText(text) {
      for (const listener of listeners) listener.onText(text);
    },
    tellStop(stop) {
      for (const listener of listeners) listener.onStop(stop);
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
