import type { Json } from "../../../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../../../machines/contracts/domain/failure.ts";
import type {
  WorkflowEngine,
  WorkflowProgram,
  WorkflowState,
} from "../../../../machines/contracts/ports/workflow-engine.ts";
import type { Run } from "../documents.ts";
import type { Store } from "../store.ts";

/** Runs that stand in memory at most; the others are read again when something happens to them. */
const maxKept = 200;
const maxPrograms = 50;

/** Runs and their programs as the file has them, the newest in memory. */
export class KeptRuns {
  readonly #engine: WorkflowEngine;
  readonly #store: Store;
  readonly #kept = new Map<string, { token: number; state: WorkflowState }>();
  readonly #programs = new Map<string, WorkflowProgram>();
  #token = Date.now() * 1_024;

  constructor(engine: WorkflowEngine, store: Store) {
    this.#engine = engine;
    this.#store = store;
  }

  check(definition: Json): Outcome<unknown> {
    return this.#engine.open(definition);
  }

  /** As the file has it; null where nothing is there, or it can't be read. */
  load(run: Run): WorkflowState | null {
    const row = this.#store.progress.state(run.id);
    if (row === undefined || run.workflowId === undefined) return null;
    const kept = this.#kept.get(run.id);
    if (kept?.token === row.token) return kept.state;
    const saved = this.#store.progress.saved(run.id);
    const events = this.#store.progress.events(run.id);
    const restored = this.program(run.workflowId)?.restore(saved, events);
    if (!restored?.ok) return null;
    keepNewest(this.#kept, run.id, { token: row.token, state: restored.value }, maxKept);
    return restored.value;
  }

  /** Keeps how a run stands; returns the token that the file must have for it. */
  keep(runId: string, state: WorkflowState): number {
    this.#token += 1;
    keepNewest(this.#kept, runId, { token: this.#token, state }, maxKept);
    return this.#token;
  }

  forget(runId: string): void {
    this.#kept.delete(runId);
  }

  /** Null for one that is gone, or that this version of us can't run. */
  program(workflowId: string): WorkflowProgram | null {
    const known = this.#programs.get(workflowId);
    if (known !== undefined) return known;
    const workflow = this.#store.workflows.find(workflowId);
    const opened = workflow && this.#engine.open(workflow.definition);
    if (!opened?.ok) return null;
    keepNewest(this.#programs, workflowId, opened.value, maxPrograms);
    return opened.value;
  }
}

function keepNewest<T>(kept: Map<string, T>, key: string, value: T, most: number): void {
  kept.delete(key);
  kept.set(key, value);
  const [oldest] = kept.keys();
  if (kept.size > most && oldest !== undefined) kept.delete(oldest);
}
