import { type } from "arktype";
import {
  type Failure,
  failureShape,
  type Outcome,
  terminal,
} from "../../../../machines/contracts/domain/failure.ts";
import { jsonDepth, type Json } from "../../../../machines/contracts/domain/json.ts";
import { maxJobDepth } from "../../../../machines/contracts/domain/job.ts";
import { isRunEnded, isStepEnded } from "../../../../machines/contracts/domain/status.ts";
import { stepInputProblem } from "../../../../machines/contracts/domain/step-input.ts";
import { cutText } from "../../../../machines/contracts/domain/text.ts";
import type {
  WorkflowEngine,
  WorkflowHappening,
  WorkflowRest,
  WorkflowState,
  WorkflowStepState,
  WorkflowTurn,
  WorkflowValues,
} from "../../../../machines/contracts/ports/workflow-engine.ts";
import { newStep, workflowInput } from "../changes/create-run.ts";
import type { Change } from "../changes/change.ts";
import { closeApproval, endRun, endSteps } from "../changes/run-state.ts";
import { databaseTrouble } from "../database-trouble.ts";
import type { Run, Step } from "../documents.ts";
import { ApiError } from "../routes/request.ts";
import type { Store } from "../store.ts";
import { KeptRuns } from "./kept-runs.ts";
import type { Workflow } from "./tables.ts";
import { openValues, usualChange } from "./values.ts";

/*
 * Runs of workflows. Each thing that happens to one (a report, a question, an answer, a timer) is one change: the engine
 * says what follows, and all of it is kept in the same transaction: the run's events, what its steps brought, the new
 * steps with their jobs in the outbox, the timers. So a crash loses nothing and repeats nothing: either all of it is
 * there or none, and then whoever told us tells us again.
 *
 *   saved + events   how far a run is. Saved again when the events have become many for its size, so that a step costs
 *                    the same in a run of ten as in one of ten thousand.
 *   token            what stands in memory is good while the file has the same; after a change that was undone it is not
 *   rest             what a change had no room for any more is a timer that is due at once: kept with the change, and done
 *                    in one of its own. The others that are served meanwhile wait for one change, and not for all.
 *   end              what a run that has ended left open, where that is more than a change has room for, is a timer likewise
 *   stopping         a run that fails or is cancelled ends at once: what its workers still do is refused, as for any run.
 *                    Where the run goes on, a step that is to stop (its time is over, say) is waited for, so that its
 *                    next attempt never runs beside it; from one that does not answer we wait `stopMs`.
 */

/** Steps of a run that ended by other means that one change ends: some twenty milliseconds. */
const mostClosed = 400;
/** How long a worker that was told to stop may be silent. */
const stopMs = 60_000;
/** How long it takes at most, as workers are usually set, until the job of a dead one is taken over. */
const takeOverMs = 45_000;

/** Told what a run's machine was told, and how it stands after it. */
export type OnWorkflowMove = (runId: string, events: readonly Json[], state: WorkflowState) => void;

export class WorkflowHost {
  readonly #store: Store;
  readonly #kept: KeptRuns;
  readonly #onTimer: (due: number) => void;
  readonly #onMove: OnWorkflowMove | undefined;
  readonly #mostInChange: number;
  /** Characters that all runs have read and written. */
  #spent = 0;

  /**
   * @param onTimer hears when a timer was set, which may be undone with its change
   * @param onMove hears of each run's moves, which may be undone, too
   * @param mostInChange characters that a change reads and writes before its rest is for another one
   */
  constructor(
    engine: WorkflowEngine,
    store: Store,
    onTimer: (due: number) => void,
    onMove: OnWorkflowMove | undefined = undefined,
    mostInChange = usualChange,
  ) {
    this.#mostInChange = mostInChange;
    this.#onMove = onMove;
    this.#store = store;
    this.#kept = new KeptRuns(engine, store);
    this.#onTimer = onTimer;
  }

  /** `invalid_input`, with all that is wrong, for a definition that can't be run. */
  check(definition: Json): Outcome<unknown> {
    return this.#kept.check(definition);
  }

  begin(change: Change, run: Run, workflow: Workflow): Run {
    const values = this.#values(run);
    values.keep("input", -1, run.input);
    const program = this.#kept.program(workflow.id);
    if (program === null)
      throw new ApiError(422, `workflow ${workflow.id} can't be run any more: register it anew`);
    const turn = program.begin(values);
    this.#store.progress.putState(run.id, { token: 0, events: 0, steps: 0 });
    return this.#settle(change, run, this.#carryOut(change, run, turn, values), values);
  }

  /** A worker's step has ended. */
  ended(change: Change, run: Run, step: Step): Run {
    if (step.workflow === undefined) return run;
    const { step: at, attempt, isStopping } = step.workflow;
    const about = { step: at, attempt };
    if (isStopping) return this.#take(change, run, { type: "step.cancelled", ...about });
    const happening: WorkflowHappening =
      step.status === "completed"
        ? { type: "step.completed", ...about, output: step.output }
        : { type: "step.failed", ...about, failure: failureOf(step.error) };
    return this.#take(change, run, happening);
  }

  /** A worker's step waits for a person, or no longer does. */
  asked(change: Change, run: Run, step: Step, isAnswered: boolean): Run {
    if (step.workflow === undefined) return run;
    const { step: at, attempt } = step.workflow;
    const what = isAnswered ? "approval.granted" : "approval.requested";
    return this.#take(change, run, { type: what, step: at, attempt });
  }

  /** The run, of a workflow or not, has ended: so does what it left open, as far as there is room in this change. */
  end(change: Change, run: Run, from: number | null = -1): void {
    const isClosed = run.workflowId === undefined || this.#close(change, run);
    const after = from === null ? null : endSteps(change, run, from);
    if (isClosed && after === null) return;
    this.#spent += this.#mostInChange;
    this.#setTimer(run.id, change.now, { kind: "end", after });
  }

  /** By whatever it ended, nothing more comes of it; says whether each of its steps shows it. */
  #close(change: Change, run: Run): boolean {
    return this.#guarded(
      run,
      () => {
        const state = this.#kept.load(run);
        if (state !== null && !isOver(state)) {
          const values = this.#values(run);
          const turn = state.take({ type: "cancel.requested" }, values);
          if (!isOver(this.#carryOut(change, run, turn, values, mostClosed))) return false;
        }
        this.#forget(run);
        return true;
      },
      () => {
        this.#forget(run);
        return true;
      },
    );
  }

  /**
   * A control plane starts: nobody may have worked meanwhile, and jobs of workers that died with it are taken over only
   * when their leases are over. That time is not the steps'.
   */
  restart({ now }: Change): void {
    this.#store.progress.restartTimeouts(now + takeOverMs);
  }

  /** Timers whose time has come: as many as there is room for in one change. The others stay due. */
  fireDue(change: Change): void {
    const { store, now } = change;
    const full = this.#spent + this.#mostInChange;
    for (const { id, run: runId } of this.#store.progress.dueTimers(now)) {
      if (this.#spent >= full) return;
      const doc = this.#store.progress.timer(id);
      this.#store.progress.dropTimer(id);
      const run = store.runs.find(runId);
      if (doc === undefined || run === undefined) continue;
      if (doc.kind === "end") this.end(change, run, doc.after);
      if (doc.kind === "end" || isRunEnded(run.status)) continue;
      if (doc.kind === "run") this.#take(change, run, { type: "timer.fired", timer: doc.timer });
      else if (doc.kind === "rest") this.#goOn(change, run, doc.rest);
      else this.#giveUp(change, run, doc.stepId);
    }
  }

  /** The steps of a run as people see them. */
  steps(run: Run): WorkflowStepState[] {
    return this.#kept.load(run)?.steps() ?? [];
  }

  #take(change: Change, run: Run, happening: WorkflowHappening): Run {
    return this.#move(change, run, (state, values) => state.take(happening, values));
  }

  #goOn(change: Change, run: Run, rest: WorkflowRest): Run {
    return this.#move(change, run, (state, values) => state.goOn(rest, values));
  }

  #move(
    change: Change,
    run: Run,
    turnOf: (state: WorkflowState, values: WorkflowValues) => WorkflowTurn,
  ): Run {
    const failed = (error: Failure) =>
      endRun(change, run, { status: "failed", reason: error.message, error: wireOf(error) });
    return this.#guarded(
      run,
      () => {
        const state = this.#kept.load(run);
        if (state === null)
          return failed(
            terminal("corrupt_record", "what was kept of the workflow's run can't be read"),
          );
        const values = this.#values(run);
        const turn = turnOf(state, values);
        return this.#settle(change, run, this.#carryOut(change, run, turn, values), values);
      },
      (error) =>
        failed(terminal("internal", cutText(`the workflow can't go on: ${String(error)}`, 500))),
    );
  }

  /**
   * What one run can't take must hold up no other: thrown on, it would undo the timers of all, be met again at the next
   * look, and refuse every report of its workers for ever. What is the database's is everybody's, and thrown on.
   */
  #guarded<T>({ id }: Run, work: () => T, instead: (error: unknown) => T): T {
    try {
      return this.#store.nested(work);
    } catch (error) {
      if (databaseTrouble(error, "") !== null) throw error;
      this.#kept.forget(id);
      return instead(error);
    }
  }

  /**
   * What a turn asks for, and what follows from that; returns the run as it stands after all of it.
   *
   * @param most steps of a run that is to stop that are ended
   */
  #carryOut(
    change: Change,
    run: Run,
    first: WorkflowTurn,
    values: WorkflowValues,
    most = Number.POSITIVE_INFINITY,
  ): WorkflowState {
    const tables = this.#store.progress;
    const row = tables.state(run.id) ?? { token: 0, events: 0, steps: 0 };
    const events: Json[] = [];
    const queue: WorkflowHappening[] = [];
    let { steps } = row;
    let turn = first;
    let room = most;
    for (;;) {
      events.push(...turn.events);
      this.#onMove?.(run.id, turn.events, turn.run);
      const isStopping = turn.run.phase !== "running";
      for (const start of turn.starts) {
        const failure = this.#start(change, run, start, steps + 1);
        if (failure === null) steps += 1;
        else queue.push({ type: "step.failed", ...at(start), failure });
      }
      for (const one of turn.cancels) {
        if (!isStopping && this.#hasStopped(change, run, one.step))
          queue.push({ type: "step.cancelled", ...at(one) });
      }
      for (const { timer, afterMs } of turn.timers)
        this.#setTimer(run.id, change.now + afterMs, { kind: "run", timer, afterMs });
      if (turn.rest !== null) this.#setTimer(run.id, change.now, { kind: "rest", rest: turn.rest });
      if (isStopping && queue.length === 0) {
        const stopping = turn.run.stopping().slice(0, room);
        room -= stopping.length;
        queue.push(...stopping.map((one) => ({ type: "step.cancelled" as const, ...one })));
      }
      const next = queue.shift();
      if (next === undefined) break;
      turn = turn.run.take(next, values);
    }
    const state = turn.run;
    const known = row.events + events.length;
    const kept = { token: this.#kept.keep(run.id, state), events: known, steps };
    if (row.token === 0 || known > 32 + state.size / 8 || isOver(state)) {
      tables.dropEvents(run.id);
      tables.putSaved(run.id, state.save());
      tables.putState(run.id, { ...kept, events: 0 });
    } else {
      events.forEach((event, nth) => tables.addEvent(run.id, row.events + nth, event));
      tables.putState(run.id, kept);
    }
    return state;
  }

  #settle(change: Change, run: Run, state: WorkflowState, values: WorkflowValues): Run {
    const { phase, failure, asking } = state;
    const status = asking > 0 ? "waiting_approval" : "running";
    if (phase === "running" || phase === "stopping")
      return change.saveRun({ ...run, status, startedAt: run.startedAt ?? change.now });
    const output = phase === "completed" ? state.output(values) : null;
    this.#forget(run);
    return endRun(change, run, {
      status: phase,
      reason: failure === null ? null : cutText(failure.message, 500),
      output,
      error: failure === null ? null : wireOf(failure),
    });
  }

  #start(change: Change, run: Run, start: WorkflowTurn["starts"][number], number: number) {
    const { store, now } = change;
    const version = store.versions.find(run.agentVersionId);
    if (version === undefined) return terminal("not_found", "the run's agent version is gone");
    const { stepType, input, asks } = start.request;
    const jobInput = workflowInput(version, run, stepType, input);
    if (jsonDepth(jobInput, maxJobDepth) > maxJobDepth)
      return terminal("invalid_input", `the input is nested deeper than ${maxJobDepth} levels`);
    const problem = stepInputProblem(stepType, jobInput);
    if (problem !== null) return problem;
    const plan = { type: stepType, input, name: start.path, onError: "continue" as const };
    const step = { ...newStep(run, plan, jobInput, number, now), workflow: { ...at(start), asks } };
    store.steps.put(step);
    change.enqueue(run, step);
    this.#store.progress.putValue(run.id, "job", start.step, step.id);
    return null;
  }

  /** Tells a worker to stop; says whether there is none that works. */
  #hasStopped(change: Change, run: Run, place: number): boolean {
    const { store, now } = change;
    const job = this.#store.progress.value(run.id, "job", place)?.value;
    const step = store.steps.find(String(job));
    if (step?.workflow === undefined || isStepEnded(step.status)) return true;
    const workflow = { ...step.workflow, isStopping: true as const };
    if (step.status !== "waiting_approval") {
      store.steps.put({ ...step, workflow });
      change.tellStop(run, step.id);
      this.#setTimer(run.id, now + stopMs, { kind: "stop", stepId: step.id });
      return false;
    }
    for (const approval of store.approvals.ofStep(step.id)) {
      if (approval.status === "pending") closeApproval(change, approval, "the step was stopped");
    }
    // Enqueued again, so that a worker hears of it and lets go.
    change.enqueue(run, { ...step, workflow, status: "skipped", completedAt: now });
    return true;
  }

  /** Its worker never said that it stopped. */
  #giveUp(change: Change, run: Run, stepId: string): void {
    const { store, now } = change;
    const step = store.steps.find(stepId);
    if (step?.workflow === undefined || isStepEnded(step.status)) return;
    const message = "the step was told to stop, and its worker never said that it had";
    const error = { kind: "cancelled", message };
    const ended: Step = { ...step, status: "skipped", error, completedAt: now };
    store.steps.put(ended);
    this.ended(change, run, ended);
  }

  #setTimer(runId: string, due: number, doc: Parameters<Store["progress"]["addTimer"]>[2]): void {
    this.#store.progress.addTimer(runId, due, doc);
    this.#onTimer(due);
  }

  #forget(run: Run): void {
    this.#store.progress.dropAllBut(run.id);
    this.#kept.forget(run.id);
  }

  #values({ id }: Run): WorkflowValues {
    const { progress } = this.#store;
    return openValues(progress, id, this.#mostInChange, (characters) => {
      this.#spent += characters;
    });
  }
}

const at = ({ step, attempt }: { step: number; attempt: number }) => ({ step, attempt });

const isOver = ({ phase }: WorkflowState): boolean => phase !== "running" && phase !== "stopping";

const wireOf = ({ kind, message, details }: Failure) =>
  ({ kind, message, ...(details === undefined ? {} : { details }) }) as Json;

/** What a worker reported of a failed step. */
function failureOf(error: Json): Failure {
  const told = typeof error === "object" && error !== null ? error : { message: String(error) };
  const read = failureShape()({ retryable: false, ...told });
  if (!(read instanceof type.errors)) return read as Failure;
  const message = "message" in told ? String(told["message"]) : "the worker gave no reason";
  return terminal("internal", cutText(message, 1_000));
}
