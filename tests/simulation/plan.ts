/** What the nth call of a step's effect does: answer, refuse before it was sent, fail, or leave us in doubt. */
export type CallPlan = { how: "ok" | "unavailable" | "failed" | "in-doubt"; takesMs: number };

/** What a person does about a question. */
export interface PersonPlan {
  answer: "grant" | "reject" | "ignore";
  afterMs: number;
}

export type StepKind =
  /** An unsafe tool, one that is safe to repeat, one that only reads. */
  | "pay"
  | "put"
  | "look"
  | "model"
  | "sandbox"
  | "retrieval"
  | "approval"
  /** A handler of the user's: a model, an unsafe tool that needs a grant, the model again. */
  | "loop"
  /** A job that names itself and can't be run; a job that can't even be named. */
  | "invalid"
  | "nameless";

export interface StepPlan {
  stepId: string;
  runId: string;
  kind: StepKind;
  /** Milliseconds of the history at which it is published. */
  at: number;
  /** What the control plane's policy says of its tool. */
  verdict: "allow" | "ask" | "deny";
  calls: CallPlan[];
  person: PersonPlan;
  /** What is answered when asked whether an effect in doubt may run again. */
  repeatPerson: PersonPlan;
  /** How long its questions stand; null for longer than any history. */
  expiresMs: number | null;
}

/** Calls of a worker's ports at which it can be struck. */
export const strikable = [
  "store.open",
  "store.append",
  "store.record",
  "store.park",
  "store.settle",
  "queue.read",
  "queue.claimStale",
  "queue.renew",
  "queue.release",
  "plane.report",
  "plane.checkTool",
  "plane.requestApproval",
  "plane.findApproval",
  "plane.extensions",
  "tools.describe",
  "tools.call",
  "models.complete",
] as const;
export const planeCalls = [
  "report",
  "checkTool",
  "requestApproval",
  "findApproval",
  "run",
] as const;
export type PlaneCall = (typeof planeCalls)[number];

/** At the worker's first such call: before it is made, or when it was made and is not yet answered. */
export interface Strike {
  call: (typeof strikable)[number];
  side: "before" | "after";
}

/** Everything that goes wrong from outside, each with the moment it begins or is armed. */
export type FaultPlan = { at: number } & (
  | { kind: "crash"; worker: number; on: Strike | null; backAfterMs: number }
  | { kind: "pause"; worker: number; on: Strike | null; forMs: number }
  | { kind: "drain"; worker: number; graceMs: number; backAfterMs: number }
  | { kind: "control-plane-away"; forMs: number }
  | { kind: "store-away"; worker: number | null; forMs: number }
  | { kind: "store-answer-lost"; worker: number }
  | { kind: "request-lost" | "answer-lost"; call: PlaneCall }
  | { kind: "request-late" | "answer-late"; call: PlaneCall; byMs: number }
  | { kind: "throttled"; call: PlaneCall; retryAfterMs: number }
  | { kind: "duplicate"; stepId: string }
  | { kind: "cancel"; runId: string }
  | { kind: "clock-jump"; byMs: number }
);

/** One random history, as data: what a seed draws, and what shrinking takes apart. */
export interface Plan {
  seed: number;
  workers: number;
  capacity: number;
  leaseMs: number;
  maxDeliveries: number;
  inDoubt: "ask" | "fail";
  totalMs: number | null;
  /** Whether the control plane pushes run changes. */
  events: boolean;
  /** Whether a process that goes on after a pause sees its timers before its answers. */
  timersFirst: boolean;
  steps: StepPlan[];
  faults: FaultPlan[];
  /** When faults stop and everything comes back. */
  healAt: number;
}
