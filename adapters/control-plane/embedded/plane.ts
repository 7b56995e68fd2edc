import type { Apply } from "./changes/change.ts";
import type { CostMicros } from "./changes/submit-result.ts";
import type { Outbox } from "./outbox.ts";
import type { RunEvents } from "./run-events.ts";
import type { Store } from "./store.ts";

/** What the routes work with. */
export interface Plane {
  store: Store;
  apply: Apply;
  events: RunEvents;
  outbox: Outbox;
  now: () => number;
  costMicros: CostMicros;
}
