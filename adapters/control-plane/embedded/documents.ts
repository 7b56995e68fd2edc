import { getRandomValues } from "node:crypto";
import { monotonicFactory } from "ulid";
import type { Json, JsonObject } from "../../../machines/contracts/domain/json.ts";
import type {
  ApprovalStatus,
  RunStatus,
  StepStatus,
} from "../../../machines/contracts/domain/status.ts";
import type { PastCall } from "../../../machines/contracts/domain/airlock/pace.ts";
import type { StepType } from "../../../machines/contracts/domain/job.ts";
import type { Budgets } from "./spending.ts";
import type { Budget } from "../../../machines/contracts/domain/budget.ts";

/** What the control plane keeps. All times are epoch milliseconds; money is integer micro-dollars. */
export interface Run {
  id: string;
  tenantId: string;
  projectId: string;
  agentId: string;
  agentVersionId: string;
  /** Of a run of a workflow. */
  workflowId?: string;
  status: RunStatus;
  statusReason: string | null;
  input: Json;
  config: JsonObject | null;
  output: Json;
  error: Json;
  inputTokens: number;
  outputTokens: number;
  /** Tool calls that policy or a person let through. */
  toolCalls: number;
  /** The calls among them that a worker named, so that one which is checked again counts once; absent for none. */
  countedCalls?: string[];
  /** Its last tool calls, for the Airlock; absent where there is none. */
  recentCalls?: PastCall[];
  costMicros: number;
  /** What the model calls of steps that have not ended have reserved or used, by the reservation; absent for none. */
  held?: Record<string, Held>;
  /** W3C trace and span of whoever created the run. */
  traceId: string | null;
  spanId: string | null;
  /** Its request named no trace: the two are our own. */
  isTraceRoot?: true;
  createdAt: number;
  /** The id of the key that started it; absent in documents of earlier versions. */
  createdBy?: string;
  /** Of a run that was asked for under an idempotency key: the caller and that key, and the request's digest. */
  requestKey?: string;
  requestDigest?: string;
  startedAt: number | null;
  completedAt: number | null;
  /** Since when it waits for a person. */
  waitingSince: number | null;
  /** Its steps that wait for a model's provider which can't be asked, and since when there are any; absent for none. */
  heldSteps?: string[];
  heldSince?: number;
  /** How long it has waited before, for people and for providers: no part of its wall time. */
  waitedMs: number;
}

/** A reservation of a run's budget; settled, what was used. */
export interface Held {
  stepId: string;
  inputTokens: number;
  outputTokens: number;
  /** Null where no price is known. */
  costMicros: number | null;
  isSettled: boolean;
  /** Of a run that has ended: counted in full in its numbers, until it is settled. */
  isCounted?: true;
}

export interface Step {
  id: string;
  tenantId: string;
  runId: string;
  number: number;
  name: string | null;
  type: StepType;
  status: StepStatus;
  /** What the caller asked for. */
  input: Json;
  /** What the worker gets: the caller's input over the agent version's settings. */
  jobInput: JsonObject;
  onError: "fail" | "continue";
  output: Json;
  error: Json;
  toolName: string | null;
  model: string | null;
  inputTokens: number | null;
  outputTokens: number | null;
  /** Null where no price is known. */
  costMicros: number | null;
  createdAt: number;
  /** Null until its job was put in the outbox; the first time. */
  enqueuedAt: number | null;
  /** The last time, or when a worker was last heard of about it; absent in documents of earlier versions. */
  heardAt?: number | null;
  startedAt: number | null;
  completedAt: number | null;
  /** The highest fence that reported. */
  fence: number;
  /** The states it passed and its effects, as its worker told; absent where it told none. */
  trace?: JsonObject;
  /** The last accepted report's idempotency key and the digest of its body. */
  reportKey: string | null;
  reportDigest: string | null;
  /** Of a workflow's run: which attempt at which of its steps, and whether a person must say yes to its tool. */
  workflow?: StepOfWorkflow;
}

export interface StepOfWorkflow {
  step: number;
  attempt: number;
  asks: { message: string | null } | null;
  /** It was told to stop. */
  isStopping?: true;
}

/** What a policy says of who may answer. */
export interface ApprovalTerms {
  policyId: string;
  policyName: string;
  /** The role that a key needs; null for none. */
  role: string | null;
  /** Whether a yes has to come from another key than started the run or asked. */
  fourEyes: boolean;
  /** Roles that are asked in turn when nobody answers, and how long each, milliseconds. Absent in earlier documents. */
  handTo?: string[];
  handWithinMs?: number;
}

export interface Approval {
  id: string;
  tenantId: string;
  runId: string;
  stepId: string;
  actionType: string;
  actionDetails: Json;
  digest: string;
  reason: string;
  status: ApprovalStatus;
  createdAt: number;
  /** The id of the key that put it; absent in documents of earlier versions, like what follows. */
  askedBy?: string;
  /** On whose terms it is answered; null where no policy has any. */
  terms?: ApprovalTerms | null;
  expiresAt: number;
  resolvedBy: string | null;
  resolvedAt: number | null;
  note: string | null;
  /** Of a yes to other arguments than were asked about, and the digest of that call. */
  edited?: { input: JsonObject; digest: string };
  /** Of the tool that is asked about, as its worker told. */
  inputSchema?: JsonObject;
}

export interface Agent {
  id: string;
  tenantId: string;
  projectId: string;
  slug: string;
  name: string;
  description: string | null;
  status: "active" | "archived";
  /** What all its runs together may spend; absent for no limit. */
  budgets?: Budgets;
  /** The version that runs use where none is named; absent for the newest. */
  promotedId?: string;
  createdAt: number;
}

export interface AgentVersion {
  id: string;
  tenantId: string;
  agentId: string;
  version: string;
  /** Null settings are the caller's to give. */
  model: string | null;
  systemPrompt: string | null;
  modelParams: JsonObject | null;
  allowedTools: string[] | null;
  approvalRequiredTools: string[];
  deniedTools: string[];
  budget: Partial<Budget>;
  approvalExpiresInMs: number | null;
  createdAt: number;
}

export interface Tool {
  id: string;
  tenantId: string;
  projectId: string;
  name: string;
  slug: string;
  description: string | null;
  mcpServer: string;
  riskLevel: "read" | "write" | "destructive";
  inputSchema: JsonObject;
  outputSchema: JsonObject | null;
  createdAt: number;
}

export interface AuditEvent {
  id: string;
  /** Null for what belongs to no run. */
  runId: string | null;
  /** The id of the key that asked for it, or `system` for what the passing of time brought. */
  by?: string;
  event: string;
  details: JsonObject;
  at: number;
}

/** The library's own asks the system for each of an id's sixteen random characters: this asks for a thousand at once. */
const randoms = new Uint32Array(1_024);
let used = randoms.length;
const random = (): number => {
  if (used === randoms.length) {
    getRandomValues(randoms);
    used = 0;
  }
  return (randoms[used++] ?? 0) / 2 ** 32;
};
const next = monotonicFactory(random);

/** `<prefix>_<ULID>`; later ids sort after earlier ones of this process. */
export function newId(
  prefix:
    | "key"
    | "pol"
    | "agt"
    | "agv"
    | "tol"
    | "run"
    | "stp"
    | "pdc"
    | "apr"
    | "aud"
    | "req"
    | "wf"
    | "msg"
    | "wfr"
    | "ten",
  now: number,
): string {
  return `${prefix}_${next(now)}`;
}

/** The ids of FerrumDeck's development seed, kept so that its clients find us as they found it. */
export const seedIds = {
  tenant: "ten_01JFVX0000000000000000001",
  project: "prj_01JFVX0000000000000000001",
  key: "key_01JFVX0000000000000000001",
} as const;
