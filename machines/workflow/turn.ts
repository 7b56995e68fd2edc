/**
 * What one event does to a run.
 *
 * A run is a tree of frames: one for the workflow's own steps, one for each time that a loop, a branch, an item of a
 * list or another workflow runs. Each step counts those that it waits for, and each frame its steps that have not
 * ended, so that an event costs what it changes: a step that ends, those that waited for it, and nothing else.
 *
 * - A step whose needs have ended is decided (has it a condition, a list, a branch?), started, and then runs, waits for
 *   a person, backs off before its next attempt, or is told to stop.
 * - What is skipped by its condition counts as done for those that wait for it; a step all of whose needs were skipped
 *   is skipped too. What failed and goes on blocks those that need its result, and theirs.
 * - What failed and does not go on closes its frame: what has not begun is cancelled, what runs is told to stop, and
 *   once all has stopped, the frame's owner has failed, and is tried again, goes on, or closes the frame it stands in.
 * - A step that is told to stop has ended only when somebody says so: a second attempt never meets the first.
 *
 * An event that does not fit the present state of its step changes nothing: a duplicate, a late one, one of an attempt
 * that is over.
 */
import { type Failure, terminal } from "../contracts/domain/failure.ts";
import { cutText } from "../contracts/domain/text.ts";
import {
  type Commands,
  type EndedStep,
  type Frame,
  isEmpty,
  noCommands,
  type SkipReason,
  stepPath,
  type StepState,
  type WorkflowContext,
} from "./context.ts";
import type { Decision, Timer } from "./events.ts";
import { isContainer, type PlanNode } from "./plan.ts";
import { hasAttemptLeft, retryDelayMs } from "./retry.ts";
import { TableEditor } from "./table.ts";

/** What a run holds at most, over all its iterations and items. */
const maxSteps = 100_000;
const maxItems = 10_000;

type Pending = { ready: number } | { ended: number };
interface Found {
  state: StepState;
  frame: Frame;
  node: PlanNode;
}

/** The run while one event is taken. */
export class Turn {
  readonly #before: WorkflowContext;
  readonly #steps: TableEditor<StepState>;
  readonly #frames: TableEditor<Frame>;
  readonly #commands: Commands = noCommands();
  readonly #pending: Pending[] = [];
  #change: Partial<WorkflowContext> = {};
  #asking: number;
  #failed: number;

  constructor(context: WorkflowContext) {
    this.#before = context;
    this.#steps = new TableEditor(context.steps);
    this.#frames = new TableEditor(context.frames);
    this.#asking = context.asking;
    this.#failed = context.failed;
  }

  /** Works off what has become ready or has ended; returns the run as it then stands. */
  finish(): WorkflowContext {
    for (let next = this.#pending.pop(); next !== undefined; next = this.#pending.pop()) {
      if ("ready" in next) this.#ready(next.ready);
      else this.#frameEnded(next.ended);
    }
    const before = this.#before;
    const steps = this.#steps.done();
    const isSame = steps === before.steps && Object.keys(this.#change).length === 0;
    if (isSame && isEmpty(before.commands)) return before;
    return {
      ...before,
      ...this.#change,
      steps,
      frames: this.#frames.done(),
      asking: this.#asking,
      failed: this.#failed,
      commands: this.#commands,
    };
  }

  /** Begins a body, its steps pending from a place on; says whether the run has room for it. */
  openFrame(
    body: number,
    owner: number,
    index: number,
    previous: number,
    attempt: number,
    at = this.#pending.length,
  ): boolean {
    const nodes = this.#before.plan.bodies[body]?.nodes ?? [];
    const base = this.#steps.size;
    if (base + nodes.length > maxSteps) return false;
    const open = nodes.length;
    const frame = this.#frames.push({ body, base, owner, attempt, index, previous, open });
    // The first is to be ready first: what is pending is taken from the end.
    const ready: Pending[] = [];
    for (const { data, order } of nodes) {
      const waitsFor = data.length + order.length;
      const step = this.#steps.push({ status: "waiting", frame, attempt: 0, waitsFor, serial: 0 });
      if (waitsFor === 0) ready.push({ ready: step });
    }
    this.#pending.splice(at, 0, ...ready.toReversed());
    return true;
  }

  find(step: number): Found | null {
    const state = this.#steps.at(step);
    const frame = state === undefined ? undefined : this.#frames.at(state.frame);
    const nodes = frame === undefined ? [] : this.#before.plan.bodies[frame.body]?.nodes;
    const node = frame === undefined ? undefined : nodes?.[step - frame.base];
    return state && frame && node ? { state, frame, node } : null;
  }

  get(step: number): Found {
    const found = this.find(step);
    if (found === null) throw new Error(`the run has no step ${step}`);
    return found;
  }

  #ready(step: number): void {
    const { state, node } = this.get(step);
    if (state.status !== "waiting") return;
    if (state.isBlocked) return this.#end(step, "skipped", { reason: "blocked" });
    if (node.data.length > 0 && !state.isMet)
      return this.#end(step, "skipped", { reason: "unneeded" });
    if (!node.decides) return this.start(step);
    this.#steps.set(step, { ...state, status: "deciding" });
    this.#commands.decide.push({ step, attempt: 0 });
  }

  decided(step: number, { runs, items = 0, holds }: Decision): void {
    const { state, node } = this.get(step);
    if (!runs) return this.#end(step, "skipped", { reason: "condition" });
    if (node.isForEach && items > maxItems) {
      const message = `its list has ${items} items; expected at most ${maxItems}`;
      return this.fail(step, terminal("too_large", message));
    }
    const found = node.isForEach ? { items } : holds === undefined ? {} : { holds };
    this.#steps.set(step, { ...state, ...found });
    this.start(step);
  }

  /** The step's worker waits for a person. The step's own time stands still, unless it is that person's. */
  asked(step: number): void {
    const { state, node } = this.get(step);
    const serial = state.serial + (node.type === "approval" ? 0 : 1);
    this.#asking += 1;
    this.#steps.set(step, { ...state, status: "asking", serial });
  }

  granted(step: number): void {
    const { state, node } = this.get(step);
    this.#asking -= 1;
    this.#steps.set(step, { ...state, status: "running" });
    if (node.type !== "approval") this.setTimeOut(step);
  }

  /** Begins the next attempt. */
  start(step: number): void {
    const { state, node } = this.get(step);
    const attempt = state.attempt + 1;
    const { last: _last, live: _live, failure: _failure, ...kept } = state;
    const serial = state.serial + 1;
    if (!isContainer(node)) {
      this.#steps.set(step, { ...kept, status: "running", attempt, serial });
      this.#commands.start.push({ step, attempt });
      return this.setTimeOut(step);
    }
    this.#steps.set(step, { ...kept, status: "open", attempt, serial, live: 0 });
    this.setTimeOut(step);
    const { each, yes, no } = node.bodies;
    const body = node.type === "condition" ? (state.holds ? yes : no) : each;
    const isIdle = body === undefined || this.#before.plan.bodies[body]?.nodes.length === 0;
    const most = node.isForEach ? Math.min(state.items ?? 0, node.maxConcurrency) : 1;
    if (isIdle || most === 0) return this.#end(step, "completed");
    const first = this.#pending.length;
    for (let index = 0; index < most; index += 1) this.#openNext(step, body, index, first);
  }

  #openNext(owner: number, body: number, index: number, at = this.#pending.length): void {
    const { state } = this.get(owner);
    if (state.status !== "open") return;
    const { attempt, last = -1, live = 0 } = state;
    const frame = this.#frames.size;
    if (this.openFrame(body, owner, index, last, attempt, at)) {
      this.#steps.set(owner, { ...state, last: frame, live: live + 1 });
      return;
    }
    const message = `the run would have more than ${maxSteps} steps`;
    this.#failOpen(owner, terminal("too_large", message));
  }

  /** A step made of others fails: at once where none of them run, else when they have stopped. */
  #failOpen(step: number, failure: Failure): void {
    const { state } = this.get(step);
    if ((state.live ?? 0) === 0) return this.fail(step, failure);
    this.#steps.set(step, { ...state, status: "stopping", failure });
    this.#closeInner(step);
  }

  setTimeOut(step: number): void {
    const { state, node } = this.get(step);
    if (node.timeoutMs === null) return;
    const { attempt, serial } = state;
    const afterMs = node.timeoutMs;
    this.#commands.timers.push({ kind: "timeout", step, attempt, serial, afterMs });
  }

  fire({ kind, step, attempt, serial }: Timer): void {
    const found = this.find(step);
    if (found === null) return;
    const { state, node } = found;
    if (state.attempt !== attempt || state.serial !== serial) return;
    if (kind === "retry") {
      if (state.status === "backing-off") this.start(step);
      return;
    }
    const message = `it took longer than its timeout_ms of ${node.timeoutMs ?? 0} ms`;
    const late = node.type === "approval" ? "approval_expired" : "timeout";
    const failure = terminal(late, message);
    if (state.status === "open") return this.#failOpen(step, failure);
    if (state.status === "running" || state.status === "asking") this.#tellToStop(step, failure);
  }

  #tellToStop(step: number, failure: Failure | null): void {
    const { state } = this.get(step);
    if (state.status === "asking") this.#asking -= 1;
    const why = failure === null ? {} : { failure };
    this.#steps.set(step, { ...state, status: "stopping", ...why });
    this.#commands.cancel.push({ step, attempt: state.attempt });
  }

  /** What was told to stop has stopped. */
  stopped(step: number): void {
    const { state, node } = this.get(step);
    // One made of others has stopped when they have.
    if (isContainer(node) && (state.live ?? 0) > 0) return;
    if (state.failure === undefined) this.#end(step, "cancelled");
    else this.fail(step, state.failure);
  }

  completed(step: number, isDone: boolean): void {
    const { state, frame } = this.get(step);
    const owner = this.find(frame.owner);
    const endsLoop = isDone && owner?.node.type === "loop" && !frame.isClosing;
    if (endsLoop) this.#frames.set(state.frame, { ...frame, isDone: true });
    this.#end(step, "completed");
    if (!endsLoop) return;
    for (const other of this.#stepsOf(frame)) {
      const { status } = this.get(other).state;
      if (status === "waiting" || status === "deciding" || status === "backing-off")
        this.#end(other, "skipped", { reason: "done" });
    }
  }

  /** An attempt failed: there is another, or the step has failed for good. */
  fail(step: number, failure: Failure): void {
    const { state, frame, node } = this.get(step);
    const { attempt, serial } = state;
    const { retry } = node;
    if (!hasAttemptLeft(retry, attempt, failure) || frame.isClosing || frame.isDone)
      return this.#end(step, "failed", { failure });
    if (state.status === "asking") this.#asking -= 1;
    const { failure: _failure, ...kept } = state;
    this.#steps.set(step, { ...kept, status: "backing-off", serial: serial + 1 });
    const afterMs = retryDelayMs(retry, attempt, failure);
    this.#commands.timers.push({ kind: "retry", step, attempt, serial: serial + 1, afterMs });
  }

  #end(
    step: number,
    status: EndedStep["status"],
    { reason, failure }: { reason?: SkipReason; failure?: Failure } = {},
  ): void {
    const { state, frame, node } = this.get(step);
    if (state.status === "asking") this.#asking -= 1;
    if (status === "failed") this.#failed += 1;
    const { failure: _failure, ...kept } = state;
    const why = reason === undefined ? {} : { reason };
    this.#steps.set(step, { ...kept, status, ...why });
    const open = frame.open - 1;
    this.#frames.set(state.frame, { ...frame, open });
    this.#commands.ended.push({
      step,
      status,
      ...why,
      ...(failure === undefined ? {} : { failure }),
    });
    if (open === 0) this.#pending.push({ ended: state.frame });
    if (failure !== undefined && !node.goesOn)
      return this.close(state.frame, this.#named(step, failure));
    if (frame.isClosing || frame.isDone) return;
    const isBlocked = status === "failed" || reason === "blocked";
    for (const { node: place, isData } of node.dependents.toReversed()) {
      const other = frame.base + place;
      const waiting = this.get(other).state;
      const waitsFor = waiting.waitsFor - 1;
      this.#steps.set(other, {
        ...waiting,
        waitsFor,
        ...(isData && isBlocked ? { isBlocked } : {}),
        ...(isData && status === "completed" ? { isMet: true } : {}),
      });
      if (waitsFor === 0) this.#pending.push({ ready: other });
    }
  }

  /** Nothing more of a frame starts. */
  close(at: number, failure: Failure | null): void {
    const frame = this.#frames.at(at);
    if (frame === undefined || frame.isClosing) return;
    const why = failure === null ? {} : { failure };
    this.#frames.set(at, { ...frame, isClosing: true, ...why });
    if (frame.owner === -1) this.#change = { phase: "stopping", failure };
    for (const step of this.#stepsOf(frame)) this.#stop(step);
    if (failure !== null && this.find(frame.owner)?.state.status === "open")
      this.#failOpen(frame.owner, failure);
  }

  #closeInner(owner: number): void {
    let at = this.get(owner).state.last ?? -1;
    while (at >= 0) {
      const frame = this.#frames.at(at);
      if (frame === undefined) return;
      if (frame.open > 0) this.close(at, null);
      at = frame.previous;
    }
  }

  #stop(step: number): void {
    const { state } = this.get(step);
    switch (state.status) {
      case "waiting":
      case "deciding":
      case "backing-off":
        return this.#end(step, "cancelled");
      case "running":
      case "asking": {
        const { start, timers } = this.#commands;
        const begun = start.findIndex((one) => one.step === step);
        if (begun < 0) return this.#tellToStop(step, null);
        // Nobody has heard of it yet.
        start.splice(begun, 1);
        this.#commands.timers = timers.filter((one) => one.step !== step);
        return this.#end(step, "cancelled");
      }
      case "open":
        this.#steps.set(step, { ...state, status: "stopping" });
        return this.#closeInner(step);
      case "stopping": {
        const { failure: _failure, ...kept } = state;
        return this.#steps.set(step, kept);
      }
      default:
    }
  }

  #frameEnded(at: number): void {
    const frame = this.#frames.at(at);
    if (frame === undefined) return;
    const { owner, failure, isClosing, isDone, index, body } = frame;
    if (owner === -1) {
      const phase = failure !== undefined ? "failed" : isClosing ? "cancelled" : "completed";
      this.#change = { ...this.#change, phase };
      return;
    }
    const { state, node } = this.get(owner);
    const live = (state.live ?? 1) - 1;
    this.#steps.set(owner, { ...state, live });
    if (state.status === "stopping") {
      if (live === 0) this.stopped(owner);
    } else if (node.type === "loop" && !isDone && index + 1 < node.maxIterations)
      this.#openNext(owner, body, index + 1);
    else if (node.isForEach) {
      const started = (this.#frames.at(state.last ?? -1)?.index ?? 0) + 1;
      if (started < (state.items ?? 0)) this.#openNext(owner, body, started);
      else if (live === 0) this.#end(owner, "completed");
    } else this.#end(owner, "completed");
  }

  /** The failure, and which step of the run it was. */
  #named(step: number, failure: Failure): Failure {
    if (failure.details?.["failed_step"] !== undefined) return failure;
    const tables = { steps: this.#steps.done(), frames: this.#frames.done() };
    const path = stepPath({ ...this.#before, ...tables }, step);
    const message = cutText(`step "${path}" failed: ${failure.message}`, 1_000);
    return { ...failure, message, details: { ...failure.details, failed_step: path } };
  }

  #stepsOf({ body, base }: Frame): number[] {
    return (this.#before.plan.bodies[body]?.nodes ?? []).map((_, place) => base + place);
  }
}
