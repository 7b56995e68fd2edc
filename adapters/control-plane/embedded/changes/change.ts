import type { Context } from "hono";
import { toEnvelope } from "../../../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../../../machines/contracts/domain/json.ts";
import type { SchemasApart } from "../../../../machines/contracts/ports/schema-checker.ts";
import type { StepQueue, StepStore } from "../../../../machines/contracts/ports/step-backend.ts";
import { type Approval, type Run, type Step, newId, seedIds } from "../documents.ts";
import type { Airlock } from "./airlock.ts";
import type { HeadFile } from "../audit-head.ts";
import type { Outbox } from "../outbox.ts";
import type { EvalReports } from "../routes/eval-routes.ts";
import type { RunChange, RunEvents, StepStop } from "../run-events.ts";
import { trackWaiting } from "./run-state.ts";
import { type By, mayReachAll } from "../keys.ts";
import { countRun } from "../spending.ts";
import type { Rows } from "../rows.ts";
import type { Store } from "../store.ts";
import type { NoticeKind } from "../notices/tables.ts";
import { addNotices, type NoticeSettings } from "../notices/webhooks.ts";
import type { WorkflowHost } from "../workflows/host.ts";
import type { CostMicros } from "./submit-result.ts";

/** One transaction at work: what its steps may do. */
export interface Change {
  /** Epoch milliseconds, the same for the whole change. */
  readonly now: number;
  /** The id of the key that asks for it, or `system`. */
  readonly by: string;
  /** What whoever asks may see and change. */
  readonly store: Rows;
  readonly notices: Store["notices"];
  /** Keeps the run; a change of its status is told to the event streams once committed. */
  saveRun(run: Run): Run;
  /** Puts the step's job in the outbox, and keeps the step as enqueued. */
  enqueue(run: Run, step: Step): void;
  /** Tells workers, once committed, that a step is to stop though its run goes on. */
  tellStop(run: Run, stepId: string): void;
  /** Tells people of a question, through the webhooks, once committed. */
  tellOf(approval: Approval, kind: NoticeKind): void;
  /** Runs of workflows; null where none are run. */
  readonly workflows: WorkflowHost | null;
  /** What inspects tool calls; null where nothing does. */
  readonly airlock: Airlock | null;
  audit(runId: string | null, event: string, details: JsonObject): void;
}

/**
 * Runs the work as one transaction; what it throws undoes it and rejects. Resolves once it is safe on disk.
 *
 * @param by the caller, or {@link system}
 */
export type Apply = <T>(work: (change: Change) => T, by: By) => Promise<T>;

/** Who asks for what nobody asks for: the passing of time, and the configuration at a start. */
export const system: By = { id: "system", tenantId: seedIds.tenant };

export interface ApplyParts {
  store: Store;
  outbox: Pick<Outbox, "kick">;
  events: Pick<RunEvents, "tell" | "tellStop">;
  workflows?: WorkflowHost | null;
  airlock?: Airlock | null;
  /** Where people are told of questions, and who is to be told that there is one; absent for nowhere. */
  notices?: { settings: NoticeSettings; kick(): void };
  now: () => number;
}

/** Changes asked for in the same turn of the event loop share one commit, and so one wait for the disk. */
export function createApply(parts: ApplyParts): Apply {
  const { store, outbox, events, now, notices } = parts;
  const { workflows = null, airlock = null } = parts;
  let waiting: { run: () => void; committed: () => void; lost: (error: unknown) => void }[] = [];

  const commit = () => {
    const changes = waiting;
    waiting = [];
    try {
      store.transaction(() => changes.forEach((change) => change.run()));
    } catch (error) {
      for (const change of changes) change.lost(error);
      return;
    }
    for (const change of changes) change.committed();
  };

  return (work, by) =>
    new Promise((resolve, reject) => {
      let committed = () => {};
      const run = () => {
        const opened = openChange(store, now(), by, {
          workflows,
          airlock,
          settings: notices?.settings ?? null,
        });
        try {
          const result = store.nested(() => work(opened.change));
          committed = () => {
            for (const told of opened.runChanges) events.tell(told);
            for (const told of opened.stops) events.tellStop(told);
            if (opened.hasJobs()) outbox.kick();
            if (opened.hasNotices()) notices?.kick();
            resolve(result);
          };
        } catch (error) {
          committed = () => reject(error);
        }
      };
      waiting.push({ run, committed: () => committed(), lost: reject });
      if (waiting.length === 1) setImmediate(commit);
    });
}

function openChange(
  whole: Store,
  now: number,
  caller: By,
  {
    workflows,
    airlock,
    settings,
  }: Pick<Change, "workflows" | "airlock"> & { settings: NoticeSettings | null },
) {
  const store = viewOf(whole, caller);
  const { id: by } = caller;
  const runChanges: RunChange[] = [];
  const stops: StepStop[] = [];
  let jobs = 0;
  let told = 0;
  const change: Change = {
    now,
    by,
    store,
    notices: whole.notices,
    workflows,
    airlock,
    tellStop({ id: runId, tenantId }, stepId) {
      stops.push({ runId, stepId, tenantId });
    },
    tellOf(approval, kind) {
      if (settings === null) return;
      addNotices(change, settings, approval, kind);
      told++;
    },
    saveRun(run) {
      const saved = trackWaiting(run, now);
      const before = store.runs.find(run.id);
      countRun(whole.spent, before, saved);
      if (before?.status !== run.status) {
        runChanges.push({ runId: run.id, status: run.status, tenantId: run.tenantId });
      }
      store.runs.put(saved);
      return saved;
    },
    enqueue(run, step) {
      store.steps.put({ ...step, enqueuedAt: step.enqueuedAt ?? now, heardAt: now });
      whole.outbox.add(envelope(run, step, now));
      jobs++;
    },
    audit(runId, event, details) {
      whole.audit.append({ id: newId("aud", now), runId, by, event, details, at: now });
    },
  };
  return { change, runChanges, stops, hasJobs: () => jobs > 0, hasNotices: () => told > 0 };
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
    ...(run.isTraceRoot === true ? { isTraceRoot: true } : {}),
    createdAt: now,
  });

/** What the workers' store has of steps and dead letters. */
export interface KeptSteps {
  queue: Pick<StepQueue, "deadLetters" | "findDeadLetter" | "retryDeadLetter">;
  store: Pick<StepStore, "find">;
}

/** What somebody may see and change. */
export const viewOf = (store: Store, by: Pick<By, "tenantId">): Rows =>
  mayReachAll(by) ? store : store.of(by.tenantId);

/** What the routes work with. None of them is given more of the store than the rows of whoever calls. */
export interface Plane {
  rows(c: Context): Rows;
  apply: Apply;
  events: RunEvents;
  outbox: Outbox;
  now: () => number;
  costMicros: CostMicros;
  headFile: Pick<HeadFile, "read">;
  /** Of the database, or `:memory:`. */
  path: string;
  workflows: WorkflowHost | null;
  airlock: Airlock | null;
  /** Holds arguments to the schemas that tools are registered with; null where nothing does. */
  schemas: SchemasApart | null;
  steps: KeptSteps | null;
  evals: EvalReports | null;
  notices: NoticeSettings;
}

/** With the whole store, for what belongs to no tenant: keys of callers, links, health, the audit's chain, backups. */
export interface WholePlane extends Plane {
  store: Store;
}
