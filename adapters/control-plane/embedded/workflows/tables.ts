import type { DatabaseSync } from "node:sqlite";
import type { Json } from "../../../../machines/contracts/domain/json.ts";
import type {
  ValueKind,
  WorkflowRest,
} from "../../../../machines/contracts/ports/workflow-engine.ts";

/** A definition, as it was registered; it never changes. */
export interface Workflow {
  id: string;
  tenantId: string;
  projectId: string;
  name: string;
  description: string | null;
  version: string;
  definition: Json;
  /** Of project and definition: the same is kept once a tenant. */
  digest: string;
  createdAt: number;
}

/** How far a run is, beside what was saved of it last: that may be long, and is neither read nor written with each step. */
export interface Progress {
  /** Another one after each change, so that what stands in memory is known to be this. */
  token: number;
  /** Events since it was saved. */
  events: number;
  /** Steps that were put on the stream. */
  steps: number;
}

/** A timer of the run's own, or of ours: `stop` ends a step whose worker never said that it stopped. */
export type TimerDoc =
  | { kind: "run"; timer: Json; afterMs: number }
  /** What a turn had no room for: due at once. */
  | { kind: "rest"; rest: WorkflowRest }
  | { kind: "stop"; stepId: string }
  /** What of an ended run is still to be ended, due at once: see `endSteps`; null for its steps on the page alone. */
  | { kind: "end"; after: number | null };

/** `job`: the id of the newest attempt at a step, as it stands on the stream. */
export type KeptKind = ValueKind | "job";

export const workflowLayout = `
CREATE TABLE workflows (id TEXT PRIMARY KEY, doc TEXT NOT NULL,
  project TEXT AS (doc ->> 'projectId'), digest TEXT AS (doc ->> 'digest'));
CREATE UNIQUE INDEX workflows_by_digest ON workflows (digest);
CREATE INDEX workflows_by_project ON workflows (project);
CREATE TABLE workflow_saves (run TEXT PRIMARY KEY, saved TEXT NOT NULL);
CREATE TABLE workflow_states (run TEXT PRIMARY KEY, token INTEGER NOT NULL,
  events INTEGER NOT NULL, steps INTEGER NOT NULL);
CREATE TABLE workflow_events (run TEXT NOT NULL, number INTEGER NOT NULL, event TEXT NOT NULL,
  PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE workflow_values (run TEXT NOT NULL, kind TEXT NOT NULL, step INTEGER NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY (run, kind, step)) WITHOUT ROWID;
CREATE TABLE workflow_timers (id INTEGER PRIMARY KEY, run TEXT NOT NULL, due INTEGER NOT NULL, doc TEXT NOT NULL);
CREATE INDEX workflow_timers_by_due ON workflow_timers (due);
CREATE INDEX workflow_timers_by_run ON workflow_timers (run);
CREATE INDEX runs_by_workflow ON runs (doc ->> 'workflowId') WHERE doc ->> 'workflowId' IS NOT NULL;
`;

/** How far the runs of workflows are, in the control plane's own file and its transactions. */
export function openWorkflowTables(db: DatabaseSync) {
  const sql = (text: string) => db.prepare(text);
  const stateOf = sql("SELECT token, events, steps FROM workflow_states WHERE run = ?");
  const putState = sql(
    `INSERT INTO workflow_states (run, token, events, steps) VALUES (?, ?, ?, ?)
     ON CONFLICT (run) DO UPDATE SET token = excluded.token, events = excluded.events, steps = excluded.steps`,
  );
  const savedOf = sql("SELECT saved FROM workflow_saves WHERE run = ?");
  const putSaved = sql(
    `INSERT INTO workflow_saves (run, saved) VALUES (?, ?)
     ON CONFLICT (run) DO UPDATE SET saved = excluded.saved`,
  );
  const addEvent = sql("INSERT INTO workflow_events (run, number, event) VALUES (?, ?, ?)");
  const eventsOf = sql("SELECT event FROM workflow_events WHERE run = ? ORDER BY number");
  const dropEvents = sql("DELETE FROM workflow_events WHERE run = ?");
  const valueOf = sql("SELECT value FROM workflow_values WHERE run = ? AND kind = ? AND step = ?");
  const putValue = sql(
    `INSERT INTO workflow_values (run, kind, step, value) VALUES (?, ?, ?, ?)
     ON CONFLICT (run, kind, step) DO UPDATE SET value = excluded.value`,
  );
  const dropValues = sql("DELETE FROM workflow_values WHERE run = ?");
  const addTimer = sql("INSERT INTO workflow_timers (run, due, doc) VALUES (?, ?, ?)");
  const dueTimers = sql(
    "SELECT id, run FROM workflow_timers WHERE due <= ? ORDER BY due, id LIMIT 1000",
  );
  const timerOf = sql("SELECT doc FROM workflow_timers WHERE id = ?");
  const firstDue = sql("SELECT min(due) AS due FROM workflow_timers");
  const restart = sql(
    `UPDATE workflow_timers SET due = max(due, ? + (doc ->> 'afterMs')) WHERE doc ->> '$.timer.kind' = 'timeout'`,
  );
  const dropTimer = sql("DELETE FROM workflow_timers WHERE id = ?");
  const dropTimers = sql("DELETE FROM workflow_timers WHERE run = ?");

  return {
    state: (run: string) => stateOf.get(run) as unknown as Progress | undefined,
    putState: (run: string, { token, events, steps }: Progress): void =>
      void putState.run(run, token, events, steps),
    saved: (run: string): Json => JSON.parse(String(savedOf.get(run)?.["saved"])) as Json,
    putSaved: (run: string, saved: Json): void => void putSaved.run(run, JSON.stringify(saved)),
    addEvent: (run: string, number: number, event: Json): void =>
      void addEvent.run(run, number, JSON.stringify(event)),
    events: (run: string): Json[] =>
      eventsOf.all(run).map((row) => JSON.parse(String(row["event"])) as Json),
    dropEvents: (run: string): void => void dropEvents.run(run),
    /** With how many characters it is written in. */
    value(run: string, kind: KeptKind, step: number): { value: Json; length: number } | undefined {
      const row = valueOf.get(run, kind, step);
      if (row === undefined) return undefined;
      const text = String(row["value"]);
      return { value: JSON.parse(text) as Json, length: text.length };
    },
    /** @returns how many characters it is written in */
    putValue(run: string, kind: KeptKind, step: number, value: Json): number {
      const text = JSON.stringify(value);
      putValue.run(run, kind, step, text);
      return text.length;
    },
    addTimer: (run: string, due: number, doc: TimerDoc): void =>
      void addTimer.run(run, due, JSON.stringify(doc)),
    dueTimers: (now: number) =>
      dueTimers.all(now).map((row) => ({
        id: Number(row["id"]),
        run: String(row["run"]),
      })),
    /** Read one at a time: a rest may be long, and there is seldom room for all that are due. */
    timer(id: number): TimerDoc | undefined {
      const row = timerOf.get(id);
      return row === undefined ? undefined : (JSON.parse(String(row["doc"])) as TimerDoc);
    },
    /** When the next timer is due; null for none. */
    firstDue(): number | null {
      const due = firstDue.get()?.["due"];
      return due === null || due === undefined ? null : Number(due);
    },
    /** All that have a time-out get all of it once more, from then on. */
    restartTimeouts: (from: number): void => void restart.run(from),
    dropTimer: (id: number): void => void dropTimer.run(id),
    /** Of an ended run only how it ended is kept. */
    dropAllBut(run: string): void {
      dropEvents.run(run);
      dropValues.run(run);
      dropTimers.run(run);
    },
  };
}
