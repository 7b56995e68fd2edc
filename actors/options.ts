import type { Observer, InspectionEvent, SnapshotFrom } from "xstate";
import type { Action, Verdict } from "../machines/contracts/domain/action.ts";
import type { Outcome } from "../machines/contracts/domain/failure.ts";
import type { Json } from "../machines/contracts/domain/json.ts";
import type { AirlockSettings } from "../machines/contracts/domain/airlock/settings.ts";
import type { Job, StepType } from "../machines/contracts/domain/job.ts";
import type { ToolRule } from "../machines/contracts/domain/tool-lists.ts";
import type { StepLimits } from "../machines/step/context.ts";
import type { StepEnd, stepMachine } from "../machines/step/machine.ts";
import type { ModelPart } from "../machines/contracts/ports/model-provider.ts";
import type { LoopMoveNotice } from "./inspection.ts";
import {
  defaultOutputScreening,
  type OutputScreening,
} from "../machines/contracts/domain/screening/output-rules.ts";
import type { Redactor } from "../machines/contracts/domain/screening/known-secrets.ts";
import type { UsersHandlers } from "./handlers/handler.ts";

/** Which tools this worker may call at all, whatever the control plane says. Deny by default. */
export interface Allowlist {
  allowed: readonly ToolRule[];
  approvalRequired: readonly ToolRule[];
  denied: readonly ToolRule[];
}

/** A state that a step has left, and how long it stayed there this time, milliseconds. */
interface StateLeft {
  state: string;
  stayedMs: number;
}

/** What a watcher is told of a step's session in this worker. */
export type StepEventNotice =
  | {
      kind: "entered";
      runId: string;
      stepId: string;
      stepType: StepType | null;
      state: string;
      left: StateLeft | null;
    }
  | StepEndNotice;

export interface StepEndNotice {
  kind: "ended";
  runId: string;
  stepId: string;
  /** Of this session's actor, as inspection names it: a step may have two alive, of which one has lost its lease. */
  actorId: string;
  stepType: StepType | null;
  left: StateLeft | null;
  /** From taking it up to its end in this worker, milliseconds. */
  tookMs: number;
  how: StepEnd | "crashed";
  /** How often the job had been delivered, this time included. */
  deliveries: number;
  /** The top-level states passed, over all sessions of the step. */
  stateHistory: readonly string[];
  snapshot: SnapshotFrom<typeof stepMachine> | null;
}

/** Some of a model's answer, told as it comes. */
export interface ModelPartNotice {
  runId: string;
  stepId: string;
  part: ModelPart;
}

/** An effect of a step, as whoever stands before its work sees it. */
export interface EffectSeen {
  /** By which the journal knows it. */
  id: string;
  name: string;
  input: Json;
  repeat: "free" | "safe" | "unsafe";
  /** It touches nothing: it keeps what became of an effect that was given up, or what was said. */
  isInner: boolean;
}

/** A user's say on one action of one job, at once. */
export type Policy = (action: Action, job: Job) => Verdict;

/** What is looked for in what goes into a step's model and in what comes out of a step. */
export interface ScreeningOptions {
  output: OutputScreening;
  /**
   * Texts that give a model orders which nobody meant to give: in a user's words, in tools' results and in documents.
   * `warn` says so in the output, the log and beside the text; `block` fails the step, or keeps the text from the model.
   */
  injection: "off" | "warn" | "block";
  /** Characters that nobody sees and a model reads, in tools' results and documents: taken out, or left as they are. */
  hiddenCharacters: "off" | "remove";
}

export const defaultScreening: ScreeningOptions = {
  output: defaultOutputScreening,
  injection: "warn",
  hiddenCharacters: "remove",
};

/** What spans say beyond names, times and numbers. */
export interface SpanOptions {
  /** What models and tools were told, and what they answered. */
  hasContent?: boolean;
  /** FerrumDeck's names beside the conventions', and its spans of verdicts. */
  hasFerrumdeckNames?: boolean;
}

export interface RuntimeOptions {
  /** Steps alive at once in this worker. */
  capacity: number;
  /** At most this many of one type execute at once; absent means as many as the capacity. */
  bulkheads: Partial<Record<StepType, number>>;
  /** How long a job stays this worker's without a heartbeat, milliseconds. */
  leaseMs: number;
  /** A job delivered more often than this becomes a dead letter. */
  maxDeliveries: number;
  limits: StepLimits;
  /** Deadlines, milliseconds; null for none. */
  deadlines: {
    queueMs: number | null;
    approvalMs: number;
    executingMs: number;
    totalMs: number | null;
  };
  allowlist: Allowlist;
  /** What to do about an unsafe effect that may or may not have run. */
  inDoubt: "ask" | "fail";
  /**
   * Who judges tool calls: the worker's lists and the control plane, or, where a control plane denies whatever it is
   * asked, the worker's lists alone. Absent for the first.
   */
  toolPolicy?: "control-plane" | "worker";
  /** What is inspected in tool calls; absent for nothing. */
  airlock?: AirlockSettings;
  /** False: an agent's tool calls go by the worker's lists alone while the control plane can't be asked. */
  failClosed?: boolean;
  /** How often an agent's model is asked, with tools, before it must answer. */
  maxIterations: number;
  /** Model for llm steps that name none. */
  defaultModel: string;
  /** A result whose JSON is longer, in bytes, is cut by moving its output to an artifact. */
  maxReportBytes: number;
  screening: ScreeningOptions;
  /** Knows the secrets that this worker holds: they are in nothing that a step gives on. */
  knownSecrets?: Pick<Redactor, "find">;
  /** The worker's own say before the control plane's; the stricter of the two wins. */
  policy?: Policy;
  /** Who runs the step chart: its compiled table, or XState's interpreter, which is slower and behaves alike. */
  chart?: "compiled" | "interpreted";
  /** Take the place of a step type's work, or of one tool's in tool steps. */
  handlers?: UsersHandlers;
  onStepEvent?: (notice: StepEventNotice) => void;
  /** Told the ends of sessions alone, for whom the states entered are not worth what it costs to tell of them. */
  onStepEnd?: (notice: StepEndNotice) => void;
  /** Told of jobs that were taken, before anything of them is looked at. */
  onJobs?: () => void;
  spans?: SpanOptions;
  /** Told each verdict that is given on an action. */
  onVerdict?: (verdict: Verdict, action: Action) => void;
  /**
   * Keeps the journal of a step that has ended as an artifact of it, with digests of what went into each effect and the
   * tools that its model was offered: `free` effects are journalled, too.
   */
  keepJournals?: boolean;
  /** Judges every action in place of lists, policy and control plane: what they said when a replay was recorded. */
  judge?: Policy;
  /** Stands before the work of every effect; a replay serves what is recorded in place of it. */
  aroundEffect?: (
    effect: EffectSeen,
    work: () => Promise<Outcome<Json>>,
    signal: AbortSignal,
  ) => Promise<Outcome<Json>>;
  /**
   * Told each part of a model's answer as it comes. While its promise is open no more of that answer is read from the
   * provider; what it throws is logged and changes nothing.
   */
  onModelPart?: (notice: ModelPartNotice) => void | Promise<void>;
  /** Told each move of an agent's loop, which no inspection stream has: it runs without an actor. Must not throw. */
  onLoopMove?: (notice: LoopMoveNotice) => void;
  /** XState's inspection stream of the whole system, for Stately's tools. */
  inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void);
}

export const defaultOptions: RuntimeOptions = {
  capacity: 4,
  bulkheads: {},
  leaseMs: 30_000,
  maxDeliveries: 10,
  limits: {
    maxAttempts: 3,
    maxRepairs: 1,
    baseDelayMs: 1_000,
    maxDelayMs: 30_000,
    parkAfterMs: 60_000,
  },
  deadlines: {
    queueMs: null,
    approvalMs: 24 * 60 * 60 * 1_000,
    executingMs: 15 * 60 * 1_000,
    totalMs: null,
  },
  allowlist: { allowed: [], approvalRequired: [], denied: [] },
  inDoubt: "ask",
  maxIterations: 25,
  defaultModel: "claude-sonnet-4-20250514",
  // The gateway answers 400 above 2 MiB; the margin is for what proxies add.
  maxReportBytes: 2 * 1024 * 1024 - 16 * 1024,
  screening: defaultScreening,
};
