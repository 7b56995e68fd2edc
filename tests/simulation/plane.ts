import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { isRunEnded, readRunStatus } from "../../machines/contracts/domain/status.ts";
import { type Plan, type StepPlan, verdictOf } from "./plan.ts";
import {
  isOver,
  nameOf,
  type PlaneAction,
  type PlaneAnswer,
  type PlaneApproval,
  type PlaneRun,
  type PlaneStep,
  viewOf,
} from "./plane-records.ts";
import type { World } from "./world.ts";

/** What the world outside does to the control plane. */
interface Hooks {
  /** Puts the step's job on the stream; `isHuman`: as FerrumDeck spells an approved step. */
  enqueue: (step: StepPlan, isHuman: boolean) => void;
  asked: (step: StepPlan) => void;
  approved: (step: StepPlan) => void;
  isResultRefused: (stepId: string) => boolean;
}

/** How long the embedded control plane waits for a word of what it enqueued. */
const redriveMs = 60_000;

/**
 * A control plane in memory. By our rules it behaves as the embedded one does, but for one thing: it recognises
 * a report by its idempotency key alone, so that a second one under another key shows. By FerrumDeck's it
 * advertises nothing, guards nothing, and keeps quiet about a rejection or an expiry.
 */
export class Plane {
  readonly steps = new Map<string, PlaneStep>();
  readonly runs = new Map<string, PlaneRun>();
  readonly approvals: PlaneApproval[] = [];
  /** Runs that a person cancelled, with when (history time). */
  readonly cancelled = new Map<string, number>();
  /** Answers that people will give, and jobs that are on their way to the stream. */
  underWay = 0;
  /** Steps whose tool policy allowed, and agents' calls: `step call`. */
  readonly allowed = new Set<string>();
  /** Runs that had ended and that a yes to a question which arrived late opened again: FerrumDeck guards no end. */
  readonly reopened = new Set<string>();
  /** Told of every run that was cancelled. */
  readonly listeners = new Set<(runId: string, status: string) => void>();
  readonly #plan: Plan;
  readonly #world: World;
  readonly #hooks: Hooks;

  constructor(plan: Plan, world: World, hooks: Hooks) {
    this.#plan = plan;
    this.#world = world;
    this.#hooks = hooks;
    for (const step of plan.steps) {
      this.steps.set(step.stepId, {
        plan: step,
        status: "pending",
        fence: 0,
        keys: new Map(),
        taken: 0,
        results: [],
        output: null,
        enqueuedAt: 0,
        heardAt: -1,
      });
      this.runs.set(step.runId, { status: "queued", ended: null, changes: [] });
    }
    if (this.#isOurs) this.#world.schedule(redriveMs, () => this.#redrive());
  }

  get #isOurs(): boolean {
    return this.#plan.rules === "embedded";
  }

  /** Puts a step's job on the stream for the first time. */
  publish(step: StepPlan): void {
    const known = this.steps.get(step.stepId);
    if (known !== undefined) known.enqueuedAt = this.#world.elapsed;
    this.#hooks.enqueue(step, false);
  }

  /** FerrumDeck ends a run too when policy wants a person asked. */
  hasEnded(runId: string): boolean {
    const run = this.runs.get(runId);
    return run?.ended != null || run?.status === "policy_blocked";
  }

  health(): JsonObject {
    if (!this.#isOurs) return { status: "healthy", version: "0.1.0" };
    const extensions = ["idempotent-results", "approvals"];
    if (this.#plan.events) extensions.push("events");
    return { status: "healthy", version: "0.1.0", extensions };
  }

  checkTool(runId: string, { tool_input }: JsonObject): PlaneAnswer {
    const { ref, call = null } = (tool_input ?? {}) as { ref?: string; call?: string };
    const stepId = String(ref);
    const step = this.steps.get(stepId);
    const isDenied = step?.plan.deniedAt != null && this.#world.elapsed >= step.plan.deniedAt;
    const isRunOver = this.#isOurs && this.cancelled.has(runId);
    const verdict =
      isDenied || isRunOver ? "deny" : step === undefined ? "deny" : verdictOf(step.plan, call);
    if (verdict === "allow") this.allowed.add(nameOf({ stepId, call }));
    if (verdict !== "allow" && !this.#isOurs) this.#setRun(runId, "policy_blocked");
    return {
      ok: {
        allowed: verdict === "allow",
        requires_approval: verdict === "ask",
        decision_id: "pdc_1",
        reason: `the plan says ${verdict}`,
      },
    };
  }

  report(
    runId: string,
    stepId: string,
    body: JsonObject,
    headers: Record<string, string>,
  ): PlaneAnswer {
    const step = this.steps.get(stepId);
    if (step === undefined) return { status: 404, code: "NOT_FOUND" };
    const status = String(body["status"]) as PlaneStep["status"];
    if (status === "completed" && this.#hooks.isResultRefused(stepId)) {
      return { status: 422, code: "VALIDATION_ERROR" };
    }
    step.heardAt = this.#world.elapsed;
    const text = JSON.stringify(body);
    if (this.#isOurs) return this.#takeGuarded(step, runId, status, text, headers);
    return this.#takeAnything(step, runId, status, text, body);
  }

  #takeGuarded(
    step: PlaneStep,
    runId: string,
    status: PlaneStep["status"],
    text: string,
    headers: Record<string, string>,
  ): PlaneAnswer {
    const sent = new Headers(headers);
    const key = sent.get("idempotency-key") ?? `none ${step.keys.size}`;
    const fence = Number(sent.get("x-stateplane-fence") ?? 0);
    const known = step.keys.get(key);
    if (known === text) return { ok: viewOf(step), repeated: true };
    if (known !== undefined || this.cancelled.has(runId)) return { status: 409, code: "CONFLICT" };
    if (fence < step.fence) return { status: 409, code: "FENCED" };
    step.fence = fence;
    if (status === "waiting_approval") {
      if (isOver(step)) return { status: 409, code: "CONFLICT" };
      step.status = this.#isAnswered(step.plan.stepId) ? "running" : status;
    } else {
      step.taken += 1;
      step.status = status;
      step.results.push(text);
      this.#closeApprovals(({ stepId }) => stepId === step.plan.stepId);
    }
    step.keys.set(key, text);
    return { ok: viewOf(step) };
  }

  /** Later reports overwrite earlier ones, and the run's status with it, whatever it was. */
  #takeAnything(
    step: PlaneStep,
    runId: string,
    status: PlaneStep["status"],
    text: string,
    body: JsonObject,
  ): PlaneAnswer {
    step.status = status;
    step.output = body["output"] ?? null;
    this.#setRun(runId, status);
    if (status === "waiting_approval") {
      const asks = ((body["output"] as JsonObject | undefined)?.["asks"] ?? []) as JsonObject[];
      this.#ask(
        step,
        asks.map(({ action }) => action as unknown as PlaneAction),
        "",
      );
    } else {
      step.taken += 1;
      step.results.push(text);
    }
    return { ok: { ...viewOf(step), status: status.replaceAll("_", "") } };
  }

  requestApproval(body: JsonObject): PlaneAnswer {
    const [stepId, digest] = [String(body["step_id"]), String(body["digest"])];
    const step = this.steps.get(stepId);
    if (step === undefined) return { status: 404, code: "NOT_FOUND" };
    const known = this.approvals.find((one) => one.stepId === stepId && one.digest === digest);
    if (known !== undefined) return { ok: this.#view(known) };
    if (this.cancelled.has(step.plan.runId) || isOver(step)) {
      return { status: 409, code: "CONFLICT" };
    }
    const approval = this.#ask(step, [body["action_details"] as unknown as PlaneAction], digest);
    step.status = "waiting_approval";
    return { ok: this.#view(approval) };
  }

  findApproval(id: string): PlaneAnswer {
    const approval = this.approvals.find((known) => known.id === id);
    if (approval === undefined || !this.#isOurs) return { status: 404, code: "NOT_FOUND" };
    return { ok: this.#view(approval) };
  }

  run(runId: string): JsonObject {
    const status = this.runs.get(runId)?.status ?? "queued";
    return { id: runId, status: this.#isOurs ? status : status.replaceAll("_", "") };
  }

  stepsOf(runId: string): JsonObject[] {
    return [...this.steps.values()].filter(({ plan }) => plan.runId === runId).map(viewOf);
  }

  cancel(runId: string): void {
    const run = this.runs.get(runId);
    if (run === undefined || isRunEnded(readRunStatus(run.status) ?? "queued")) return;
    this.#world.note("plane", `${runId} is cancelled`);
    this.cancelled.set(runId, this.#world.elapsed);
    this.#setRun(runId, "cancelled");
    if (!this.#isOurs) return;
    this.#closeApprovals((approval) => approval.runId === runId);
    for (const step of this.steps.values()) {
      if (step.plan.runId !== runId || step.status !== "waiting_approval") continue;
      step.status = "running";
      this.#enqueue(step);
    }
    for (const tell of this.listeners) tell(runId, "cancelled");
  }

  isOpen(approval: PlaneApproval): boolean {
    this.#expire(approval);
    return approval.status === "pending";
  }

  #setRun(runId: string, status: string): void {
    const run = this.runs.get(runId);
    if (run === undefined || run.status === status) return;
    run.status = status;
    if (run.ended !== null) run.changes.push(status);
    // FerrumDeck calls a run blocked that only waits for a person: that is no end yet.
    const ends = ["completed", "failed", "cancelled"].includes(status);
    if (ends && run.ended === null) run.ended = { as: status, at: this.#world.elapsed };
  }

  /** FerrumDeck lets a person's yes open a run again, whatever it was: it is then no run that has ended. */
  #reopenRun(runId: string): void {
    const run = this.runs.get(runId);
    if (run?.ended != null) this.reopened.add(runId);
    if (run !== undefined) Object.assign(run, { status: "running", ended: null, changes: [] });
    this.cancelled.delete(runId);
  }

  #ask(step: PlaneStep, actions: PlaneAction[], digest: string): PlaneApproval {
    const { stepId, runId, expiresMs } = step.plan;
    const approval: PlaneApproval = {
      id: `approval-${this.approvals.length + 1}`,
      stepId,
      runId,
      actions,
      digest,
      status: "pending",
      askedAt: this.#world.elapsed,
      expiresAt: expiresMs === null ? null : this.#world.now() + expiresMs,
      answeredAt: null,
    };
    this.approvals.push(approval);
    this.#hooks.asked(step.plan);
    if (expiresMs !== null) this.#later(expiresMs + 1, () => this.#expire(approval));
    this.#askPerson(approval, step);
    return approval;
  }

  #askPerson(approval: PlaneApproval, step: PlaneStep): void {
    const { person, repeatPerson } = step.plan;
    const isRepeat = approval.actions.some(({ kind }) => kind === "repeat");
    const { answer, afterMs } = isRepeat ? repeatPerson : person;
    if (answer === "ignore") return;
    this.#later(afterMs, () => {
      this.#expire(approval);
      // Nobody answers for a step that has ended, which FerrumDeck would let them.
      if (approval.status !== "pending" || isOver(step)) return;
      approval.status = answer === "grant" ? "approved" : "rejected";
      approval.answeredAt = this.#world.elapsed;
      this.#world.note("person", `${approval.status} ${approval.id} of ${approval.stepId}`);
      if (this.#isOurs) {
        const isAnswered = step.status === "waiting_approval" && this.#isAnswered(approval.stepId);
        if (isAnswered) step.status = "running";
      } else if (answer === "grant") {
        step.status = "running";
        this.#reopenRun(approval.runId);
      } else {
        step.status = "failed";
        this.#setRun(approval.runId, "failed");
        return;
      }
      this.#enqueue(step);
      if (answer === "grant") this.#hooks.approved(step.plan);
    });
  }

  #enqueue(step: PlaneStep): void {
    const { plan } = step;
    this.#later(5, () => {
      step.enqueuedAt = this.#world.elapsed;
      this.#hooks.enqueue(plan, !this.#isOurs && plan.kind === "approval");
    });
  }

  /** What was enqueued and never heard of is enqueued again: a store may have lost it. */
  #redrive(): void {
    for (const step of this.steps.values()) {
      const isWaiting = step.status === "waiting_approval" && !this.#isAnswered(step.plan.stepId);
      const isSilent = step.heardAt <= step.enqueuedAt && step.enqueuedAt > 0;
      const isOld = this.#world.elapsed - step.enqueuedAt >= redriveMs;
      if (isSilent && isOld && !isOver(step) && !isWaiting) this.#enqueue(step);
    }
    this.#world.schedule(redriveMs / 4, () => this.#redrive());
  }

  #later(ms: number, what: () => void): void {
    this.underWay += 1;
    this.#world.schedule(ms, () => {
      this.underWay -= 1;
      what();
    });
  }

  #isAnswered(stepId: string): boolean {
    const asked = this.approvals.filter((approval) => approval.stepId === stepId);
    return asked.length > 0 && asked.every((approval) => approval.status !== "pending");
  }

  #expire(approval: PlaneApproval): void {
    const isDue = approval.expiresAt !== null && approval.expiresAt <= this.#world.now();
    if (!isDue || approval.status !== "pending") return;
    approval.status = "expired";
    const step = this.steps.get(approval.stepId);
    // Ours says so by enqueuing the step; FerrumDeck says nothing to anybody.
    if (!this.#isOurs) this.#setRun(approval.runId, "failed");
    else if (step?.status === "waiting_approval") this.#enqueue(step);
  }

  #closeApprovals(which: (approval: PlaneApproval) => boolean): void {
    for (const approval of this.approvals) {
      if (which(approval) && approval.status === "pending") approval.status = "expired";
    }
  }

  #view(approval: PlaneApproval): JsonObject {
    this.#expire(approval);
    const { id, runId, stepId, status, digest, expiresAt } = approval;
    return {
      id,
      run_id: runId,
      step_id: stepId,
      status,
      digest,
      expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
      resolved_by: status === "approved" ? "a person" : null,
    };
  }
}
