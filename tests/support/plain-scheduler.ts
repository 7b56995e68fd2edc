import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type {
  StepDefinition,
  WorkflowDefinition,
} from "../../machines/contracts/domain/workflow.ts";
import type { WorkflowEvent } from "../../machines/workflow/events.ts";

/*
 * A workflow's rules once more, in the plainest way: a tree of objects, and after each event one rule after the other
 * over all of them until none changes anything. What it says of a run is what the machine must say.
 */

interface PlainStep {
  path: string;
  definition: StepDefinition;
  owner: PlainFrame;
  status: string;
  attempt: number;
  reason: string;
  /** What it ends as once it has stopped. */
  stopAs: Failure | null;
  frames: PlainFrame[];
  items: number;
  holds: boolean;
}

interface PlainFrame {
  steps: PlainStep[];
  owner: PlainStep | null;
  attempt: number;
  index: number;
  isOrdered: boolean;
  isClosing: boolean;
  isDone: boolean;
  /** Why it closed; null while it has not, and where it was told to. */
  failed: Failure | null;
}

const ended = new Set(["completed", "failed", "skipped", "cancelled"]);
const never = [
  "invalid_input",
  "policy_denied",
  "approval_rejected",
  "approval_expired",
  "cancelled",
];
const isEnded = ({ status }: PlainStep) => ended.has(status);

export class PlainScheduler {
  readonly #workflow: WorkflowDefinition;
  readonly #root: PlainFrame;
  #isCancelled = false;

  constructor(workflow: WorkflowDefinition) {
    this.#workflow = workflow;
    this.#root = this.#frame(workflow.steps, null, 0, false);
    this.#settle();
  }

  /** How the run and each of its steps stand. */
  state(): { phase: string; steps: Record<string, string> } {
    const root = this.#root;
    const over = root.steps.every(isEnded);
    const end = root.failed !== null ? "failed" : this.#isCancelled ? "cancelled" : "completed";
    const steps = this.#all().map(({ path, status, attempt, reason }) => [
      path,
      `${status}${reason === "" ? "" : ` (${reason})`} ${attempt}`,
    ]);
    const phase = over ? end : root.isClosing ? "stopping" : "running";
    return { phase, steps: Object.fromEntries(steps) };
  }

  take(path: string, event: WorkflowEvent): void {
    if (this.#root.steps.every(isEnded)) return;
    if (event.type === "cancel.requested") {
      if (!this.#root.isClosing) this.#isCancelled = true;
      this.#root.isClosing = true;
      return this.#settle();
    }
    const step = this.#all().find((one) => one.path === path);
    const attempt = event.type === "timer.fired" ? event.timer.attempt : event.attempt;
    if (step === undefined || isEnded(step) || step.attempt !== attempt) return;
    this.#apply(step, event);
    this.#settle();
  }

  #apply(step: PlainStep, event: WorkflowEvent): void {
    const { status, owner } = step;
    const isUnderWay = status === "running" || status === "asking";
    if (event.type === "timer.fired") {
      if (event.timer.kind === "retry" && status === "backing-off") this.#start(step);
      const failure: Failure = { kind: "timeout", message: "", retryable: false };
      if (step.definition.type === "approval") failure.kind = "approval_expired";
      if (event.timer.kind === "timeout" && (isUnderWay || status === "open")) {
        step.status = "stopping";
        step.stopAs = failure;
      }
    } else if (event.type === "step.decided") {
      if (status !== "deciding") return;
      if (!event.decision.runs) return this.#end(step, "skipped", "condition");
      step.items = event.decision.items ?? 0;
      step.holds = event.decision.holds ?? false;
      this.#start(step);
    } else if (event.type === "approval.requested") {
      if (status === "running") step.status = "asking";
    } else if (event.type === "approval.granted") {
      if (status === "asking") step.status = "running";
    } else if (status === "stopping") {
      this.#stopped(step);
    } else if (event.type === "step.completed") {
      if (!isUnderWay) return;
      this.#end(step, "completed");
      if (event.isDone && owner.owner?.definition.type === "loop" && !owner.isClosing)
        owner.isDone = true;
    } else if (isUnderWay || (status === "deciding" && event.type === "step.failed")) {
      const kinds = {
        "step.cancelled": "cancelled",
        "approval.rejected": "approval_rejected",
        "approval.expired": "approval_expired",
      } as const;
      const failure: Failure =
        event.type === "step.failed"
          ? event.failure
          : { kind: kinds[event.type as keyof typeof kinds], message: "", retryable: false };
      this.#fail(step, failure);
    }
  }

  #settle(): void {
    let before = "";
    for (let now = this.#signature(); now !== before; now = this.#signature()) {
      before = now;
      for (const step of this.#all()) this.#rules(step);
    }
  }

  #signature(): string {
    return this.#all()
      .map(({ status, attempt, frames }) => `${status}${attempt}${frames.length}`)
      .join();
  }

  #rules(step: PlainStep): void {
    const { owner, status } = step;
    const isIdle = ["waiting", "deciding", "backing-off"].includes(status);
    if (isIdle && owner.isClosing) return this.#end(step, "cancelled");
    if (isIdle && owner.isDone) return this.#end(step, "skipped", "done");
    if (["running", "asking", "open", "stopping"].includes(status) && owner.isClosing) {
      step.status = "stopping";
      step.stopAs = null;
    }
    if (status === "waiting") return this.#begin(step);
    const current = step.frames.filter(({ attempt }) => attempt === step.attempt);
    if (current.length === 0) return;
    const live = current.filter((frame) => !frame.steps.every(isEnded));
    if (step.status === "open" && current.some(({ failed }) => failed !== null)) {
      step.status = "stopping";
      step.stopAs = current.find(({ failed }) => failed !== null)?.failed ?? null;
    }
    if (step.status === "stopping") {
      for (const frame of current) frame.isClosing = true;
      if (live.length === 0) this.#stopped(step);
    } else if (step.status === "open") this.#next(step, current, live.length);
  }

  #begin(step: PlainStep): void {
    const { owner, definition } = step;
    const at = owner.steps.indexOf(step);
    const named = definition.depends_on?.map(
      (id) => owner.steps.find((one) => one.definition.id === id) as PlainStep,
    );
    const ordered = owner.isOrdered && at > 0 ? [owner.steps[at - 1] as PlainStep] : [];
    if (!(named ?? ordered).every(isEnded)) return;
    const needs = named ?? [];
    if (needs.some(({ status, reason }) => status === "failed" || reason === "blocked"))
      return this.#end(step, "skipped", "blocked");
    if (needs.length > 0 && needs.every(({ status }) => status === "skipped"))
      return this.#end(step, "skipped", "unneeded");
    const isEach = definition.type === "parallel" && definition.config?.for_each !== undefined;
    if (
      definition.condition !== undefined ||
      ["condition", "workflow"].includes(definition.type) ||
      isEach
    )
      step.status = "deciding";
    else this.#start(step);
  }

  #start(step: PlainStep): void {
    step.attempt += 1;
    step.stopAs = null;
    const { type, config } = step.definition;
    if (!["loop", "parallel", "condition", "workflow"].includes(type)) {
      step.status = "running";
      return;
    }
    step.status = "open";
    if (type === "parallel" && config?.for_each !== undefined) {
      const most = Math.min(step.items, config.max_concurrency ?? 10);
      if (most === 0) return this.#end(step, "completed");
      for (let index = 0; index < most; index += 1) this.#open(step, index);
    } else if (this.#inner(step).length === 0) this.#end(step, "completed");
    else this.#open(step, 0);
  }

  #inner({ definition, holds }: PlainStep): StepDefinition[] {
    if (definition.type === "condition")
      return (holds ? definition.config?.then : definition.config?.else) ?? [];
    if (definition.type === "loop" || definition.type === "parallel")
      return definition.config?.steps ?? [];
    const used = definition.type === "workflow" ? definition.config?.workflow : "";
    return this.#workflow.workflows?.find(({ id }) => id === used)?.steps ?? [];
  }

  #open(step: PlainStep, index: number): void {
    const { type, config } = step.definition;
    const isOrdered =
      type === "loop" ||
      type === "condition" ||
      (type === "parallel" && config?.for_each !== undefined);
    step.frames.push(this.#frame(this.#inner(step), step, index, isOrdered));
  }

  #next(step: PlainStep, current: PlainFrame[], live: number): void {
    const { type, config } = step.definition;
    if (type === "loop" && live === 0) {
      const most = config?.max_iterations ?? this.#workflow.max_iterations ?? 10;
      if (current.at(-1)?.isDone || current.length >= most) this.#end(step, "completed");
      else this.#open(step, current.length);
    } else if (type === "parallel" && config?.for_each !== undefined) {
      const most = config.max_concurrency ?? 10;
      if (live < most && current.length < step.items) this.#open(step, current.length);
      else if (live === 0) this.#end(step, "completed");
    } else if (live === 0) this.#end(step, "completed");
  }

  #fail(step: PlainStep, failure: Failure): void {
    const { definition, owner, attempt } = step;
    const isTop = owner.owner === null || owner.owner.definition.type === "workflow";
    const isOurs = owner.owner?.definition.type !== "workflow";
    const general = isOurs ? this.#workflow.on_error : undefined;
    const isLeaf = !["loop", "parallel", "condition", "workflow"].includes(definition.type);
    const usual = (definition.on_error ?? general) === "retry" && isLeaf ? 3 : 1;
    const most = definition.retry === undefined ? usual : (definition.retry.max_attempts ?? 3);
    const isOver = attempt === 0 || attempt >= most || never.includes(failure.kind);
    if (!isOver && !owner.isClosing && !owner.isDone) {
      step.status = "backing-off";
      return;
    }
    step.stopAs = failure;
    this.#end(step, "failed");
    if ((definition.on_error ?? (isTop ? general : undefined)) === "continue") return;
    if (!owner.isClosing) owner.failed = failure;
    owner.isClosing = true;
  }

  #stopped(step: PlainStep): void {
    if (step.frames.some((frame) => frame.attempt === step.attempt && !frame.steps.every(isEnded)))
      return;
    if (step.stopAs === null) this.#end(step, "cancelled");
    else this.#fail(step, step.stopAs);
  }

  #end(step: PlainStep, status: string, reason = ""): void {
    step.status = status;
    step.reason = reason;
  }

  #frame(
    steps: readonly StepDefinition[],
    owner: PlainStep | null,
    index: number,
    isOrdered: boolean,
  ): PlainFrame {
    const attempt = owner?.attempt ?? 1;
    const frame: PlainFrame = {
      steps: [],
      owner,
      attempt,
      index,
      isOrdered,
      isClosing: false,
      isDone: false,
      failed: null,
    };
    const isEach =
      owner?.definition.type === "loop" ||
      (owner?.definition.type === "parallel" && owner.definition.config?.for_each !== undefined);
    const above =
      owner === null
        ? ""
        : `${owner.path}${attempt > 1 ? `#${attempt}` : ""}${isEach ? `[${index}]` : ""}/`;
    frame.steps = steps.map((definition) => ({
      path: `${above}${definition.id}`,
      definition,
      owner: frame,
      status: "waiting",
      attempt: 0,
      reason: "",
      stopAs: null,
      frames: [],
      items: 0,
      holds: false,
    }));
    return frame;
  }

  #all(frame: PlainFrame = this.#root): PlainStep[] {
    return frame.steps.flatMap((step) => [
      step,
      ...step.frames.flatMap((inner) => this.#all(inner)),
    ]);
  }
}
