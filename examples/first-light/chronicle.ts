import type { StepEventNotice } from "../../actors/options.ts";
import type { ExampleStep } from "./plan.ts";

/** What became of one step, gathered from the worker's own notice. */
export interface Told {
  step: ExampleStep;
  stepId: string;
  path: readonly string[];
  verdict: string;
  /** Milliseconds from first being taken up to the end, waiting for people included. */
  duration: number;
  outcome: string;
  isAsExpected: boolean;
}

/**
 * Follows the run's steps as the worker tells of them. The control plane enqueues each step when the one before
 * has ended, so the order in which they appear is the plan's.
 */
export class Chronicle {
  readonly #plan: readonly ExampleStep[];
  readonly #order: string[] = [];
  readonly #begun = new Map<string, number>();
  readonly #told = new Map<string, Told>();
  readonly #parked = new Set<string>();
  readonly #print: (line: string) => void;
  /** Lines of steps that began before the run's own line was printed; null from then on. */
  #early: string[] | null = [];

  constructor(plan: readonly ExampleStep[], print: (line: string) => void) {
    this.#plan = plan;
    this.#print = print;
  }

  /** The worker may have the first step before the answer to whoever made the run arrives. */
  begin(runId: string): void {
    this.#print(`\nrun ${runId}`);
    for (const line of this.#early ?? []) this.#print(line);
    this.#early = null;
  }

  isParked(stepId: string): boolean {
    return this.#parked.has(stepId);
  }

  #say(step: ExampleStep, what: string): void {
    const line = `  ${step.name.padEnd(24)} ${what}`;
    if (this.#early === null) this.#print(line);
    else this.#early.push(line);
  }

  hear(notice: StepEventNotice): void {
    const { stepId } = notice;
    if (!this.#begun.has(stepId)) {
      this.#begun.set(stepId, performance.now());
      this.#order.push(stepId);
    }
    const step = this.#plan[this.#order.indexOf(stepId)];
    // On a Redis that others use too, the worker may be handed their jobs.
    if (step === undefined) return;
    if (notice.kind === "entered") this.#say(step, notice.state);
    if (notice.kind === "ended" && notice.how === "parked") {
      this.#parked.add(stepId);
      this.#say(step, "(parked: waiting costs the worker nothing)");
    }
    if (notice.kind === "ended" && notice.how === "settled") this.#tell(step, notice);
  }

  #tell(step: ExampleStep, notice: Extract<StepEventNotice, { kind: "ended" }>): void {
    const { result = null, verdict = null, grants = [] } = notice.snapshot?.context ?? {};
    const isDenied = result?.status === "failed" && result.failure.kind === "policy_denied";
    const isRejected = result?.status === "failed" && result.failure.kind === "approval_rejected";
    const outcome = isDenied ? "denied" : isRejected ? "rejected" : (result?.status ?? "unknown");
    const reason = result?.status === "failed" ? `: ${result.failure.message}` : "";
    const { tool_calls: calls = [] } = (result?.output ?? {}) as { tool_calls?: unknown[] };
    const made =
      calls.length === 0 ? "" : `, ${calls.length} tool call${calls.length === 1 ? "" : "s"}`;
    this.#told.set(notice.stepId, {
      step,
      stepId: notice.stepId,
      path: notice.stateHistory,
      verdict:
        grants.length > 0
          ? "ask, granted"
          : isRejected
            ? "ask, refused"
            : (verdict?.kind ?? "none"),
      duration: performance.now() - (this.#begun.get(notice.stepId) ?? 0),
      outcome: outcome + made + reason,
      isAsExpected: outcome === step.expected,
    });
  }

  /** In the order of the plan; null for a step that never ended. */
  steps(): (Told | null)[] {
    return this.#plan.map((_, index) => this.#told.get(this.#order[index] ?? "") ?? null);
  }
}
