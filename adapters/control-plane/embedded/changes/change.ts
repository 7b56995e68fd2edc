import { toEnvelope } from "../../../../machines/contracts/job.ts";
import type { JsonObject } from "../../../../machines/contracts/json.ts";
import type { Run, Step } from "../documents.ts";
import { newId } from "../new-id.ts";
import type { Outbox } from "../outbox.ts";
import type { RunChange, RunEvents } from "../run-events.ts";
import { trackWaiting } from "../rules/track-waiting.ts";
import type { Store } from "../store.ts";

/** One transaction at work: what its steps may do. */
export interface Change {
  /** Epoch milliseconds, the same for the whole change. */
  readonly now: number;
  readonly store: Store;
  /** Keeps the run; a change of its status is told to the event streams once committed. */
  saveRun(run: Run): Run;
  /** Puts the step's job in the outbox, and keeps the step as enqueued. */
  enqueue(run: Run, step: Step): void;
  audit(runId: string, event: string, details: JsonObject): void;
}

/** Runs the work as one transaction; what it throws undoes it. */
export type Apply = <T>(work: (change: Change) => T) => T;

export interface ApplyParts {
  store: Store;
  outbox: Pick<Outbox, "kick">;
  events: Pick<RunEvents, "tell">;
  now: () => number;
}

export function createApply({ store, outbox, events, now }: ApplyParts): Apply {
  return (work) => {
    const at = now();
    const changes: RunChange[] = [];
    let jobs = 0;
    const change: Change = {
      now: at,
      store,
      saveRun(run) {
        const saved = trackWaiting(run, at);
        if (store.runs.find(run.id)?.status !== run.status) {
          changes.push({ runId: run.id, status: run.status });
        }
        store.runs.put(saved);
        return saved;
      },
      enqueue(run, step) {
        store.steps.put({ ...step, enqueuedAt: step.enqueuedAt ?? at });
        store.outbox.add(envelope(run, step, at));
        jobs++;
      },
      audit(runId, event, details) {
        store.audit.put({ id: newId("aud", at), runId, event, details, at });
      },
    };
    const result = store.transaction(() => work(change));
    for (const told of changes) events.tell(told);
    if (jobs > 0) outbox.kick();
    return result;
  };
}

const envelope = (run: Run, step: Step, now: number) =>
  toEnvelope({
    runId: run.id,
    stepId: step.id,
    stepType: step.type,
    input: step.jobInput,
    tenantId: run.tenantId,
    projectId: run.projectId,
    agentId: run.agentId,
    traceId: run.traceId,
    spanId: run.spanId,
    createdAt: now,
  });
