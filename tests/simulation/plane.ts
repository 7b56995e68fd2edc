import {
  type Failure,
  terminal,
  fail,
  ok,
  type Outcome,
} from "../../machines/contracts/domain/failure.ts";
import { type Ask, type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import type { Reception, Report } from "../../machines/contracts/ports/control-plane.ts";
import type { StepKey } from "../../machines/contracts/domain/record.ts";
import type { StepStatus } from "../../machines/contracts/domain/status.ts";
import type { ApprovalView, RunView, StepView } from "../../machines/contracts/wire/views.ts";
import type { Plan, StepPlan } from "./plan.ts";
import type { World } from "./world.ts";

export interface PlaneApproval {
  id: string;
  stepId: string;
  runId: string;
  ask: Ask;
  status: ApprovalView["status"];
  askedAt: number;
  /** Wall time; null for never. */
  expiresAt: number | null;
  /** History time of the answer. */
  answeredAt: number | null;
}

interface PlaneStep {
  plan: StepPlan;
  status: StepStatus;
  fence: number;
  keys: Map<string, string>;
  /** Terminal reports taken. More than one is a broken promise, which this plane does not prevent. */
  taken: number;
}

/**
 * A control plane in memory that behaves as the embedded one does, but for one thing: it recognises a report by
 * its idempotency key alone, so that a second one under another key shows.
 */
export class Plane {
  readonly steps = new Map<string, PlaneStep>();
  readonly approvals: PlaneApproval[] = [];
  readonly cancelled = new Set<string>();
  /** Answers that people will give, and jobs that are on their way to the stream. */
  underWay = 0;
  /** Steps whose tool policy allowed. */
  readonly allowed = new Set<string>();
  /** Told of every run that ended. */
  readonly listeners = new Set<(runId: string, status: string) => void>();
  readonly #world: World;
  readonly #enqueue: (step: StepPlan) => void;

  constructor(plan: Plan, world: World, enqueue: (step: StepPlan) => void) {
    this.#world = world;
    this.#enqueue = (step) => this.#later(5, () => enqueue(step));
    for (const step of plan.steps) {
      const made: PlaneStep = {
        plan: step,
        status: "pending",
        fence: 0,
        keys: new Map(),
        taken: 0,
      };
      this.steps.set(step.stepId, made);
    }
  }

  checkTool(runId: string, stepId: string): Outcome<Verdict> {
    if (this.cancelled.has(runId)) return ok(verdict.deny("the run has ended"));
    const kind = this.steps.get(stepId)?.plan.verdict ?? "deny";
    if (kind === "allow") this.allowed.add(stepId);
    return ok(verdict[kind](`the plan says ${kind}`));
  }

  report(report: Report): Outcome<Reception> {
    const step = this.steps.get(report.stepId);
    if (step === undefined) return fail(terminal("not_found", "no such step"));
    const body = JSON.stringify(report.body);
    const known = step.keys.get(report.idempotencyKey);
    if (known !== undefined) return ok(known === body ? "repeated" : "ended");
    if (this.cancelled.has(report.runId)) return ok("ended");
    if (report.fence < step.fence) return fail(fenced(report, step.fence));
    step.fence = report.fence;
    const { status } = report.body;
    if (status === "waiting_approval") {
      if (isOver(step)) return ok("ended");
      step.status = this.#isAnswered(report.stepId) ? "running" : status;
    } else {
      step.taken += 1;
      step.status = status;
      for (const approval of this.approvals) {
        if (approval.stepId === report.stepId) this.#close(approval, "expired");
      }
    }
    step.keys.set(report.idempotencyKey, body);
    return ok("accepted");
  }

  requestApproval({ runId, stepId }: StepKey, ask: Ask): Outcome<ApprovalView> {
    const known = this.approvals.find(
      (approval) => approval.stepId === stepId && approval.ask.digest === ask.digest,
    );
    if (known !== undefined) return ok(this.#view(known));
    const step = this.steps.get(stepId);
    if (step === undefined) return fail(terminal("not_found", "no such step"));
    if (this.cancelled.has(runId)) return fail(terminal("conflict", "the run has ended"));
    if (isOver(step)) return fail(terminal("conflict", "the step has ended"));
    const { expiresMs } = step.plan;
    const approval: PlaneApproval = {
      id: `approval-${this.approvals.length + 1}`,
      stepId,
      runId,
      ask,
      status: "pending",
      askedAt: this.#world.elapsed,
      expiresAt: expiresMs === null ? null : this.#world.now() + expiresMs,
      answeredAt: null,
    };
    this.approvals.push(approval);
    step.status = "waiting_approval";
    this.#askPerson(approval, step.plan);
    return ok(this.#view(approval));
  }

  findApproval(id: string): Outcome<ApprovalView> {
    const approval = this.approvals.find((known) => known.id === id);
    if (approval === undefined) return fail(terminal("not_found", `no approval ${id}`));
    return ok(this.#view(approval));
  }

  run(runId: string): Outcome<RunView> {
    const status = this.cancelled.has(runId) ? "cancelled" : "running";
    return ok({ id: runId, status } as RunView);
  }

  stepsOf(runId: string): Outcome<StepView[]> {
    const views = [...this.steps.values()]
      .filter(({ plan }) => plan.runId === runId)
      .map(({ plan, status }) => ({ id: plan.stepId, run_id: runId, step_type: "tool", status }));
    return ok(views as StepView[]);
  }

  cancel(runId: string): void {
    if (this.cancelled.has(runId)) return;
    this.#world.note("plane", `${runId} is cancelled`);
    this.cancelled.add(runId);
    for (const approval of this.approvals) {
      if (approval.runId === runId) this.#close(approval, "expired");
    }
    for (const step of this.steps.values()) {
      if (step.plan.runId !== runId || step.status !== "waiting_approval") continue;
      step.status = "running";
      this.#enqueue(step.plan);
    }
    for (const tell of this.listeners) tell(runId, "cancelled");
  }

  isOpen(approval: PlaneApproval): boolean {
    this.#expire(approval);
    return approval.status === "pending";
  }

  #askPerson(approval: PlaneApproval, plan: StepPlan): void {
    const { answer, afterMs } =
      approval.ask.action.kind === "repeat" ? plan.repeatPerson : plan.person;
    if (answer === "ignore") return;
    this.#later(afterMs, () => {
      this.#expire(approval);
      if (approval.status !== "pending") return;
      approval.status = answer === "grant" ? "approved" : "rejected";
      approval.answeredAt = this.#world.elapsed;
      this.#world.note("person", `${approval.status} ${approval.id} of ${approval.stepId}`);
      const step = this.steps.get(approval.stepId);
      if (step === undefined) return;
      if (step.status === "waiting_approval" && this.#isAnswered(approval.stepId)) {
        step.status = "running";
      }
      this.#enqueue(step.plan);
    });
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
    if (isDue) this.#close(approval, "expired");
  }

  #close(approval: PlaneApproval, status: "expired"): void {
    if (approval.status === "pending") approval.status = status;
  }

  #view(approval: PlaneApproval): ApprovalView {
    this.#expire(approval);
    const { id, runId, stepId, status, ask, expiresAt } = approval;
    return {
      id,
      run_id: runId,
      step_id: stepId,
      status,
      digest: ask.digest,
      expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
      resolved_by: status === "approved" ? "a person" : null,
    } as ApprovalView;
  }
}

const isOver = ({ status }: PlaneStep) => status === "completed" || status === "failed";

function fenced({ stepId, fence }: Report, known: number): Failure {
  return terminal("conflict", `fence ${fence} of ${stepId} is behind ${known}`, { code: "FENCED" });
}
