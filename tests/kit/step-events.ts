import { type Failure, retryable, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Ask, Grant } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { StepInput } from "../../machines/step/context.ts";
import type { StepEvent } from "../../machines/step/events.ts";

/** The step that generated paths are walked with. */
export const sampleJob: Job = {
  runId: "run_1",
  stepId: "stp_1",
  stepType: "tool",
  input: { tool_name: "git_commit", tool_input: { repo: "demo", message: "hello" } },
  tenantId: null,
  projectId: null,
  agentId: null,
  traceId: null,
  spanId: null,
  createdAt: 0,
};

/** Small limits, so that every way of running out of patience is a short path. */
export const sampleInput: StepInput = {
  runId: "run_1",
  stepId: "stp_1",
  job: sampleJob,
  problem: null,
  limits: {
    maxAttempts: 2,
    maxRepairs: 1,
    baseDelayMs: 100,
    maxDelayMs: 1_000,
    parkAfterMs: 5_000,
  },
};

export const sampleAsk: Ask = {
  digest: "digest-of-the-commit",
  action: { kind: "tool", name: "git_commit", input: { repo: "demo", message: "hello" } },
  reason: "writes need approval",
  approvalId: null,
  expiresAt: null,
};
const asked: Ask = { ...sampleAsk, approvalId: "apr_1", expiresAt: 86_400_000 };
const grant: Grant = {
  digest: sampleAsk.digest,
  approvalId: "apr_1",
  resolvedBy: "key_1",
};
const passing: Failure = retryable("unavailable", "the neighbour is away");
/** Waited for outside of the worker, wherever it is met. */
const longPassing: Failure = {
  ...retryable("rate_limited", "come back later", 60_000),
  untried: true,
};
const lasting: Failure = terminal("tool_failed", "no such file");
const retryStamp = { at: 1_000, jitter: 0.5 };
const allow = { kind: "allow", reason: "on the allowlist" } as const;
const ask = { kind: "ask", reason: "writes need approval" } as const;
const deny = { kind: "deny", reason: "not on the allowlist" } as const;

/** Every event the step chart knows, one or more of a kind: what the path generator draws from. */
export const stepEvents: readonly StepEvent[] = [
  { type: "record.fresh" },
  { type: "record.kept", left: "policy-check", kept: {} },
  { type: "record.kept", left: "awaiting-approval", kept: { verdict: ask, asks: [asked] } },
  {
    type: "record.kept",
    left: "policy-check",
    kept: { verdict: allow, retryAt: 900 },
  },
  {
    type: "record.recorded",
    result: { status: "completed", output: { made: "before" }, usage: null },
  },
  { type: "record.reported" },
  { type: "record.duplicate" },
  { type: "record.corrupt", failure: terminal("corrupt_record", "the snapshot can't be read") },
  { type: "policy.allowed", verdict: allow },
  { type: "policy.asked", verdict: ask, asks: [sampleAsk] },
  { type: "policy.denied", verdict: deny },
  { type: "approval.requested", asks: [asked] },
  { type: "approval.requested", asks: [asked], isAnswered: true },
  { type: "approval.pending", asks: [asked] },
  { type: "approval.granted", grants: [grant] },
  {
    type: "approval.settled",
    grants: [],
    refusals: [
      {
        digest: sampleAsk.digest,
        approvalId: "apr_1",
        kind: "approval_rejected",
        reason: "not that one",
      },
    ],
  },
  { type: "approval.rejected", failure: terminal("approval_rejected", "not today") },
  { type: "approval.expired", failure: terminal("approval_expired", "nobody came") },
  { type: "execution.completed", output: { done: true }, usage: null, costly: true },
  { type: "approval.needed", asks: [sampleAsk] },
  { type: "activity.failed", failure: passing, costly: false, ...retryStamp },
  { type: "activity.failed", failure: longPassing, costly: false, ...retryStamp },
  { type: "activity.failed", failure: lasting, costly: true, ...retryStamp },
  { type: "retry.due" },
  { type: "output.valid", output: { done: true } },
  {
    type: "output.invalid",
    failure: terminal("invalid_output", "breaks its schema"),
    repairable: true,
  },
  { type: "output.invalid", failure: terminal("invalid_output", "too deep"), repairable: false },
  { type: "result.recorded", result: null },
  { type: "delivery.accepted" },
  { type: "delivery.failed", failure: passing, ...retryStamp },
  { type: "delivery.refused", failure: terminal("refused", "no such run") },
  { type: "release.requested" },
  { type: "step.settled" },
  { type: "step.parked" },
  { type: "cancel.requested", reason: "a person cancelled the run" },
  { type: "deadline.reached", which: "total" },
  { type: "lease.lost" },
  { type: "store.failed", failure: terminal("refused", "nested too deeply to be kept") },
  { type: "drain.requested" },
];
