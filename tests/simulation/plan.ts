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
  /** A tool whose own name ends as an allowed tool's does: no list allows it. */
  | "stray"
  | "model"
  | "sandbox"
  | "retrieval"
  | "approval"
  /** An agent: a model, an unsafe tool, the model again. */
  | "loop"
  /** An agent that pays twice in one reply, and once more with other arguments when it has the results. */
  | "pair"
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
  /** Of a pair: whether that is said of the second call alone, the first being allowed, or of both. */
  judged: "second" | "both";
  /** From when on the control plane's policy denies it; null for never. */
  deniedAt: number | null;
  /** Whether the job names its tool alone, or with its server before it. */
  spelling: "bare" | "full";
  /** How long its results are, in characters: some need the artifacts. */
  length: number;
  calls: CallPlan[];
  person: PersonPlan;
  /** What is answered when asked whether an effect in doubt may run again. */
  repeatPerson: PersonPlan;
  /** How long its questions stand; null for longer than any history. */
  expiresMs: number | null;
}

/** Calls that an agent makes, `turn.call`, as its arguments name them. */
export const agentCalls = ["1.1", "1.2", "2.1"] as const;

/** What the control plane's policy says of one call of a step: null of a tool step's only one. */
export function verdictOf({ kind, verdict, judged }: StepPlan, call: string | null) {
  return kind === "pair" && judged === "second" && call === "1.1" ? "allow" : verdict;
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
/** The control plane's calls, as requests are told apart on their way to it. */
export const planeCalls = [
  "report",
  "checkTool",
  "requestApproval",
  "findApproval",
  "run",
  "steps",
  "approvals",
  "health",
] as const;
export type PlaneCall = (typeof planeCalls)[number];

/** Calls whose neighbour can throw where it should answer a value. */
export const throwing = [
  "plane.report",
  "plane.run",
  "plane.checkTool",
  "plane.requestApproval",
  "plane.extensions",
  "tools.call",
  "models.complete",
  "artifacts.put",
] as const;

/** At the worker's first such call: before it is made, or when it was made and is not yet answered. */
export interface Strike {
  call: (typeof strikable)[number];
  side: "before" | "after";
}

/** How something that is not the control plane answers in its place. */
export const misanswers = [
  "200 page",
  "200 other JSON",
  "204 empty",
  "302 elsewhere",
  "400 page",
  "404 page",
  "404 plain",
  "502 page",
] as const;
export type Misanswer = (typeof misanswers)[number];

/** Everything that goes wrong from outside, each with the moment it begins or is armed. */
export type FaultPlan = { at: number } & (
  | { kind: "crash"; worker: number; on: Strike | null; backAfterMs: number }
  | { kind: "pause"; worker: number; on: Strike | null; forMs: number }
  | { kind: "drain"; worker: number; graceMs: number; backAfterMs: number }
  | { kind: "control-plane-away"; forMs: number }
  /** Every call is refused for want of a valid key. */
  | { kind: "key-refused"; forMs: number }
  /** Something else answers every call for a while, or one call; `reached`: the control plane had it first. */
  | { kind: "proxy-answers"; forMs: number; how: Misanswer }
  | { kind: "misanswered"; call: PlaneCall; how: Misanswer; reached: boolean }
  | { kind: "health-slow"; forMs: number; byMs: number }
  /** The control plane refuses this step's completed results. */
  | { kind: "result-refused"; stepId: string }
  | { kind: "store-away"; worker: number | null; forMs: number }
  /** Nothing can be added; what is there can be read, renewed and removed. */
  | { kind: "store-full"; forMs: number }
  | { kind: "store-read-only"; worker: number | null; forMs: number }
  /** It refuses our password. */
  | { kind: "store-refusing"; worker: number | null; forMs: number }
  | { kind: "store-answer-lost"; worker: number }
  /** What is kept of this step can't be read or written, whatever is tried. */
  | { kind: "record-unusable"; stepId: string }
  | { kind: "entry-vanished"; stepId: string }
  /** The store goes back to what it was so long before. */
  | { kind: "writes-lost"; byMs: number }
  | { kind: "artifacts-refusing"; trouble: "passing" | "ours"; forMs: number }
  | { kind: "request-lost" | "answer-lost"; call: PlaneCall }
  | { kind: "request-late" | "answer-late"; call: PlaneCall; byMs: number }
  | { kind: "throttled"; call: PlaneCall; retryAfterMs: number }
  | { kind: "neighbour-throws"; call: (typeof throwing)[number] }
  | { kind: "duplicate"; stepId: string }
  | { kind: "cancel"; runId: string }
  /** The run of a step is cancelled once the step was asked about, or right after a person's yes. */
  | { kind: "cancel-parked"; stepId: string; after: "asked" | "approved"; byMs: number }
  /** Tools move to another server, or change their arguments. */
  | { kind: "tools-changed"; what: "server" | "schema" }
  /** No server with tools can be reached. */
  | { kind: "tools-away"; forMs: number }
  /** The worker dies between an agent's call and its journal entry, and the tools may be others when it is found. */
  | {
      kind: "turn-cut";
      stepId: string;
      call: (typeof agentCalls)[number];
      tools: "server" | "schema" | "away" | null;
      backAfterMs: number;
    }
  /** A person puts every dead letter back on the stream. */
  | { kind: "letters-retried" }
  | { kind: "clock-jump"; byMs: number }
);

/** One random history, as data: what a seed draws, and what shrinking takes apart. */
export interface Plan {
  seed: number;
  /** Whose rules the control plane follows: ours, or FerrumDeck's, which guards and advertises nothing. */
  rules: "embedded" | "ferrumdeck";
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
  /** How far each worker's wall clock is from the control plane's, milliseconds. */
  clocks: number[];
  /** Workers that start from then on deny a tool, which their list names alone or with its server. */
  denied: { tool: "pay" | "put"; from: number; spelling: "bare" | "full" } | null;
  /** What the worker's own policy function answers about `put`; null where there is none. */
  ownPolicy: "unknown word" | "throws" | null;
  steps: StepPlan[];
  faults: FaultPlan[];
  /** When faults stop and everything comes back. */
  healAt: number;
}
