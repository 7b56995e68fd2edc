import { compile } from "../../machines/compile.ts";
import { pureTransitions } from "../../machines/pure.ts";
import { type Json, writtenLength } from "../../machines/contracts/domain/json.ts";
import type {
  WorkflowHappening,
  WorkflowReader,
  WorkflowRest,
  WorkflowTurn,
  WorkflowValues,
} from "../../machines/contracts/ports/workflow-engine.ts";
import { stepAt, stepPath } from "../../machines/workflow/context.ts";
import type { Attempt, Timer, WorkflowEvent } from "../../machines/workflow/events.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import type { WorkflowSnapshot } from "../../machines/workflow/saved.ts";
import { outputOf, type Outputs, scopeOf, shownTo } from "../../machines/workflow/scope.ts";

/*
 * Carries out what the workflow machine asks for, as far as it needs no world: it keeps what steps brought, looks at
 * earlier results, and makes the requests of the steps that start. What is left is a turn: steps to put on the stream,
 * steps to stop, timers to set. Its caller keeps the turn's events in their order; a run is what they make of the
 * machine, so whoever has them has the run, and nothing is asked for or worked out twice.
 *
 *   one happening ─▶ event ─▶ machine ─▶ recordSteps, decideSteps, startSteps ─▶ further events, until none is left
 *                                    └─▶ startSteps, cancelSteps, setTimers ─▶ the turn
 *
 * A turn is one transaction of whoever serves many runs, so it is bounded: once so much was read and written that it is
 * full, what is still to be decided or to start is its rest, which its caller keeps and gives to a turn of its own. Until
 * then such a step is under way for the machine; its time begins when it is put on the stream.
 */

export const workflow = pureTransitions(compile(workflowMachine));

/** What a turn made of a run. */
export type MadeTurn = Omit<WorkflowTurn, "run"> & { snapshot: WorkflowSnapshot };

export const outputsOf = (values: WorkflowValues): Outputs => ({
  output: (step) => values.read("output", step),
  input: (owner) => values.read("input", owner) ?? {},
  items: (owner) => (values.read("items", owner) ?? []) as readonly Json[],
});

/** What a step costs that is put on the stream, however little it is asked; in characters. */
const costOfStart = 1_024;

const keyOf = ({ step, attempt }: Attempt): string => `${step} ${attempt}`;

/** One happening, and all that follows from it at once. */
export class Turn {
  readonly #reader: WorkflowReader;
  readonly #values: WorkflowValues;
  readonly #outputs: Outputs;
  readonly #queue: WorkflowEvent[] = [];
  readonly #made = {
    events: [] as Json[],
    starts: [] as WorkflowTurn["starts"],
    cancels: [] as Attempt[],
    timers: [] as WorkflowTurn["timers"],
  };
  #rest: WorkflowRest = { decide: [], start: [], timers: [] };
  #snapshot: WorkflowSnapshot;

  constructor(reader: WorkflowReader, snapshot: WorkflowSnapshot, values: WorkflowValues) {
    this.#reader = reader;
    this.#snapshot = snapshot;
    this.#values = values;
    this.#outputs = outputsOf(values);
  }

  /** Without a happening, what the run asks for first. */
  run(happenings: readonly WorkflowHappening[]): MadeTurn {
    if (happenings.length === 0) this.#carryOut();
    this.#queue.push(...happenings.map((one) => this.#eventOf(one)));
    return this.#finish();
  }

  /** What an earlier turn had no room for, but for what has become void since. */
  goOn({ decide, start, timers }: WorkflowRest): MadeTurn {
    const { context } = this.#snapshot;
    const isStill = (status: string) => (at: Attempt) => {
      const { state } = stepAt(context, at.step) ?? {};
      return state?.status === status && state.attempt === at.attempt;
    };
    const starting = start.filter(isStill("running"));
    const alive = new Set(starting.map(keyOf));
    const theirs = timers.filter((one) => alive.has(keyOf(one)));
    this.#begin(decide.filter(isStill("deciding")), starting, theirs);
    return this.#finish();
  }

  #finish(): MadeTurn {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (this.#snapshot.status !== "active") break;
      const before = this.#snapshot.context;
      this.#snapshot = workflow.next(this.#snapshot, next).snapshot;
      // What comes twice, or too late, changes nothing, and need not be known.
      const { steps, frames, phase } = this.#snapshot.context;
      if (steps === before.steps && frames === before.frames && phase === before.phase) continue;
      this.#made.events.push(next as unknown as Json);
      this.#carryOut();
    }
    const rest = this.#rest.decide.length + this.#rest.start.length > 0 ? this.#rest : null;
    return { snapshot: this.#snapshot, ...this.#made, rest };
  }

  #eventOf(happening: WorkflowHappening): WorkflowEvent {
    if (happening.type === "timer.fired")
      return { type: "timer.fired", timer: happening.timer as unknown as Timer };
    if (happening.type !== "step.completed") return happening;
    const { step, attempt, output } = happening;
    const found = stepAt(this.#snapshot.context, step);
    if (found === null || found.state.attempt !== attempt)
      return { type: "step.completed", step, attempt };
    const seen = this.#reader.seenOutput(found.node.definition, output);
    // What had been told to stop brings nothing.
    const { status } = found.state;
    if (status === "running" || status === "asking") this.#values.keep("output", step, seen);
    return { type: "step.completed", step, attempt, isDone: this.#reader.saysDone(seen) };
  }

  #carryOut(): void {
    const { context } = this.#snapshot;
    const { ended, decide, start, cancel, timers } = context.commands;
    for (const { step, status } of ended) {
      const made = status === "completed" ? outputOf(context, step, this.#outputs) : undefined;
      if (made !== undefined) this.#values.keep("output", step, made);
    }
    const timed = timers.map(({ afterMs, ...timer }) => {
      const { step, attempt } = timer;
      return { timer: timer as unknown as Json, afterMs, step, attempt };
    });
    this.#begin(decide, start, timed);
    for (const at of cancel) this.#cancel(at);
  }

  #begin(decide: Attempt[], start: Attempt[], timers: WorkflowRest["timers"]): void {
    for (const at of decide) {
      if (this.#values.isFull()) this.#rest.decide.push(at);
      else this.#queue.push(this.#decide(at));
    }
    for (const at of start) {
      if (this.#values.isFull()) this.#rest.start.push(at);
      else this.#start(at);
    }
    const waiting = new Set(this.#rest.start.map(keyOf));
    for (const one of timers) {
      if (waiting.has(keyOf(one))) this.#rest.timers.push(one);
      else this.#made.timers.push({ timer: one.timer, afterMs: one.afterMs });
    }
  }

  #decide(at: Attempt): WorkflowEvent {
    const { node } = this.#node(at);
    const scope = this.#scope(at.step, this.#reader.namesIn(node.definition));
    const made = this.#reader.decideStep(node.definition, scope);
    this.#values.spend(this.#reader.takeWork());
    if (!made.ok) return { type: "step.failed", ...at, failure: made.failure };
    const { items, input, ...decision } = made.value;
    if (input !== undefined) this.#values.keep("input", at.step, input);
    if (items !== undefined) this.#values.keep("items", at.step, items);
    const counted = items === undefined ? {} : { items: items.length };
    return { type: "step.decided", ...at, decision: { ...decision, ...counted } };
  }

  #start(at: Attempt): void {
    const { context } = this.#snapshot;
    const { node } = this.#node(at);
    const scope = this.#scope(at.step, this.#reader.namesIn(node.definition));
    const shown = node.type === "llm" ? this.#scope(at.step, shownTo(context, at.step)) : {};
    const request = this.#reader.stepRequest(node.definition, scope, shown);
    this.#values.spend(this.#reader.takeWork());
    if (!request.ok)
      return void this.#queue.push({ type: "step.failed", ...at, failure: request.failure });
    this.#values.spend(costOfStart + writtenLength(request.value as unknown as Json));
    this.#made.starts.push({ ...at, path: stepPath(context, at.step), request: request.value });
  }

  #cancel(at: Attempt): void {
    const { starts, cancels } = this.#made;
    const isIt = (one: Attempt) => keyOf(one) === keyOf(at);
    const begun = starts.findIndex(isIt);
    const waiting = begun < 0 ? this.#rest.start.findIndex(isIt) : -1;
    if (begun < 0 && waiting < 0) return void cancels.push(at);
    // Nobody has heard of it yet.
    if (begun >= 0) starts.splice(begun, 1);
    else this.#rest.start.splice(waiting, 1);
    this.#queue.push({ type: "step.cancelled", ...at });
  }

  #node({ step }: Attempt) {
    const found = stepAt(this.#snapshot.context, step);
    if (found === null) throw new Error(`the run has no step ${step}`);
    return found;
  }

  #scope(step: number, names: readonly string[]) {
    return scopeOf(this.#snapshot.context, step, names, this.#outputs);
  }
}
