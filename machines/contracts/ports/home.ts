import type { StepQueue } from "./step-queue.ts";
import type { StepStore } from "./step-store.ts";

/** Where steps live: a queue and a store over the same data, so that one move can touch both. */
export interface Home {
  queue: StepQueue;
  store: StepStore;
  /** For a person, at start; never a secret: `Redis at redis://127.0.0.1:6379`. */
  describe: string;
  close(): Promise<void>;
}
