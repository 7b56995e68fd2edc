import { initialTransition, transition } from "xstate";
import { compile } from "../../machines/compile.ts";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import type {
  WorkflowEngine,
  WorkflowHappening,
  WorkflowProgram,
  WorkflowReader,
  WorkflowState,
  WorkflowStepState,
  WorkflowTurn,
  WorkflowValues,
} from "../../machines/contracts/ports/workflow-engine.ts";
import { outstanding } from "../../machines/workflow/advance.ts";
import { stepAt, stepPath } from "../../machines/workflow/context.ts";
import type { Attempt, Timer, WorkflowEvent } from "../../machines/workflow/events.ts";
import { workflowMachine } from "../../machines/workflow/machine.ts";
import { type Plan, planWorkflow } from "../../machines/workflow/plan.ts";
import { restoreRun, saveRun, type WorkflowSnapshot } from "../../machines/workflow/saved.ts";
import {
  outputOf,
  type Outputs,
  runOutput,
  scopeOf,
  shownTo,
} from "../../machines/workflow/scope.ts";

/*
 * Carries out what the workflow machine asks for, as far as it needs no world: it keeps what steps brought, looks at
 * earlier results, and makes the requests of the steps that start. What is left is a turn: steps to put on the stream,
 * steps to stop, timers to set. Its caller keeps the turn's events in their order; a run is what they make of the
 * machine, so whoever has them has the run, and nothing is asked for or worked out twice.
 *
 *   one happening ─▶ event ─▶ machine ─▶ recordSteps, decideSteps, startSteps ─▶ further events, until none is left
 *                                    └─▶ startSteps, cancelSteps, setTimers ─▶ the turn
 */

const logic = compile(workflowMachine);

/** An engine of a reader's: it works the expressions out, and this drives the machine. */
export function createWorkflowEngine(reader: WorkflowReader): WorkflowEngine {
  return {
    open(definition) {
      const problems = reader.problems(definition);
      if (problems.length > 0)
        return fail(terminal("invalid_input", cutText(problems.join("; "), 2_000)));
      return ok(program(reader, planWorkflow(definition as unknown as WorkflowDefinition)));
    },
  };
}

const program = (reader: WorkflowReader, plan: Plan): WorkflowProgram => ({
  begin(values) {
    const [snapshot] = initialTransition(logic, { plan });
    return new Turn(reader, snapshot, values).run([]);
  },
  restore(saved, events) {
    const restored = restoreRun(plan, saved);
    if (!restored.ok) return restored;
    let snapshot = restored.value;
    for (const event of events)
      [snapshot] = transition(logic, snapshot, event as unknown as WorkflowEvent);
    return ok(stateOf(reader, snapshot));
  },
});

const stateOf = (reader: WorkflowReader, snapshot: WorkflowSnapshot): WorkflowState => ({
  phase: snapshot.context.phase,
  failure: snapshot.context.failure,
  asking: snapshot.context.asking,
  size: snapshot.context.steps.size,
  take: (happening, values) => new Turn(reader, snapshot, values).run([happening]),
  output: (values) => runOutput(snapshot.context, outputsOf(values)),
  save: () => saveRun(snapshot) as unknown as Json,
  steps: () => stepsOf(snapshot),
  stopping: () => outstanding(snapshot.context).cancel,
});

const outputsOf = (values: WorkflowValues): Outputs => ({
  output: (step) => values.read("output", step),
  input: (owner) => values.read("input", owner) ?? {},
  items: (owner) => (values.read("items", owner) ?? []) as readonly Json[],
});

function stepsOf({ context }: WorkflowSnapshot): WorkflowStepState[] {
  const steps: WorkflowStepState[] = [];
  for (let step = 0; step < context.steps.size; step += 1) {
    const found = stepAt(context, step);
    if (found === null) continue;
    const { status, attempt, reason = null } = found.state;
    const path = stepPath(context, step);
    steps.push({ step, path, type: found.node.type, status, attempt, reason });
  }
  return steps;
}

/** One happening, and all that follows from it at once. */
class Turn {
  readonly #reader: WorkflowReader;
  readonly #values: WorkflowValues;
  readonly #outputs: Outputs;
  readonly #queue: WorkflowEvent[] = [];
  readonly #made: Omit<WorkflowTurn, "run"> = { events: [], starts: [], cancels: [], timers: [] };
  #snapshot: WorkflowSnapshot;

  constructor(reader: WorkflowReader, snapshot: WorkflowSnapshot, values: WorkflowValues) {
    this.#reader = reader;
    this.#snapshot = snapshot;
    this.#values = values;
    this.#outputs = outputsOf(values);
  }

  /** Without a happening, what the run asks for first. */
  run(happenings: readonly WorkflowHappening[]): WorkflowTurn {
    if (happenings.length === 0) this.#carryOut();
    this.#queue.push(...happenings.map((one) => this.#eventOf(one)));
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (this.#snapshot.status !== "active") break;
      const before = this.#snapshot.context;
      [this.#snapshot] = transition(logic, this.#snapshot, next);
      // What comes twice, or too late, changes nothing, and need not be known.
      const { steps, frames, phase } = this.#snapshot.context;
      if (steps === before.steps && frames === before.frames && phase === before.phase) continue;
      this.#made.events.push(next as unknown as Json);
      this.#carryOut();
    }
    return { run: stateOf(this.#reader, this.#snapshot), ...this.#made };
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
    for (const at of decide) this.#queue.push(this.#decide(at));
    for (const at of start) this.#start(at);
    for (const at of cancel) this.#cancel(at);
    for (const { afterMs, ...timer } of timers)
      this.#made.timers.push({ timer: timer as unknown as Json, afterMs });
  }

  #decide(at: Attempt): WorkflowEvent {
    const { node } = this.#node(at);
    const scope = this.#scope(at.step, this.#reader.namesIn(node.definition));
    const made = this.#reader.decideStep(node.definition, scope);
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
    if (request.ok)
      this.#made.starts.push({ ...at, path: stepPath(context, at.step), request: request.value });
    else this.#queue.push({ type: "step.failed", ...at, failure: request.failure });
  }

  #cancel(at: Attempt): void {
    const { starts, cancels } = this.#made;
    const begun = starts.findIndex((one) => one.step === at.step && one.attempt === at.attempt);
    if (begun < 0) return void cancels.push(at);
    // Nobody has heard of it yet.
    starts.splice(begun, 1);
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
