import type { Span } from "@opentelemetry/api";
import { type } from "arktype";
import { once } from "../../machines/contracts/domain/once.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { linkSpan } from "../tracing.ts";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import { isStepEnded } from "../../machines/contracts/domain/status.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { type ActivityScope, type StepActivity, storeNow, topLevel } from "./session.ts";
import { Journal } from "./journal.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { RuntimeOptions } from "../options.ts";
import {
  askShape,
  grantShape,
  refusalShape,
  verdictShape,
} from "../../machines/contracts/domain/action.ts";
import {
  type JournalEntry,
  journalEntryShape,
  type StepRecord,
} from "../../machines/contracts/domain/record.ts";
import {
  type StepResult,
  stepResultShape,
  usageShape,
} from "../../machines/contracts/domain/step-result.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { LeftOff } from "../../machines/step/events.ts";
import { stepMachineVersion } from "../../machines/step/machine.ts";

/** Opens the step's record: raises the fence, and finds where an earlier session left off. */
export const load: StepActivity = async (scope) => {
  const { ports, options, session, context } = scope;
  const { clock, store } = ports;
  const asked = clock.monotonic();
  const { entryId, fields } = session.delivery;
  const opening = await store.open(entryId, session.key, options.leaseMs, fields);
  session.leaseSeen = asked;
  if (opening.kind === "lease-lost") {
    session.endedBy = "another worker has taken over the job";
    return { type: "lease.lost" };
  }
  if (opening.kind === "duplicate") {
    session.isDuplicate = true;
    return { type: "record.duplicate" };
  }
  session.opened(opening.lease);
  if (opening.kind === "opened") session.storeAheadMs = opening.now - clock.now();
  if (opening.kind === "reported") return { type: "record.reported" };

  const { queue, total } = due(session.job, options);
  const isPast = (time: number | null) => time !== null && storeNow({ ports, session }) >= time;
  if (opening.record === null) {
    if (await hasEndedUnseen(scope)) return { type: "record.reported" };
    if (isPast(queue)) return { type: "deadline.reached", which: "queue" };
    return isPast(total) ? { type: "deadline.reached", which: "total" } : { type: "record.fresh" };
  }

  session.isResumed = true;
  // A worker that died before it parked the step kept none of its states: it is entered here, at pending.
  if (opening.record.stateHistory.length > 0) {
    session.stateHistory = [...opening.record.stateHistory];
    session.enteredAt = session.stateHistory.map(() => null);
  }
  const read = readRecord(opening.record);
  if (!read.ok) {
    return { type: "record.corrupt", failure: terminal("corrupt_record", read.problem) };
  }
  session.journal = new Journal(read.journal);
  linkEarlier(session.span, opening.record, read.journal);
  if (read.result !== null) return { type: "record.recorded", result: read.result };
  const { job } = opening.record;
  // The job as it was parked: FerrumDeck puts an approved step back without its whole input.
  if (job !== null) session.job = job;
  if (isPast(due(session.job, options).total)) return { type: "deadline.reached", which: "total" };
  const { left, kept } = read.left ?? { left: "policy-check", kept: {} };
  const unusable = problemOf(context, job, session.journal);
  return {
    type: "record.kept",
    left,
    kept: { ...kept, ...(job === null ? {} : { job }), problem: unusable },
  };
};

/** The span of this attempt links to that of the one before: what waited or was interrupted is no part of either. */
function linkEarlier(span: Span, { phase, snapshot }: StepRecord, journal: JournalEntry[]): void {
  if (!span.isRecording()) return;
  const parked = isJsonObject(snapshot) ? snapshot["span"] : undefined;
  const begun = journal.findLast((entry) => entry.event === "begun" && entry.span !== undefined);
  const interrupted = begun?.event === "begun" ? begun.span : undefined;
  if (phase === "parked") linkSpan(span, parked ?? interrupted, "parked");
  else linkSpan(span, interrupted ?? parked, "interrupted");
}

/** Older jobs may come from a stream that somebody read before: recreating the consumer group delivers everything again. */
const youngMs = 60_000;

/**
 * Whether a step that this store does not remember has ended at the control plane. Asked only where repeated reports
 * are not recognised, and only of jobs that may have been done before: old ones, and those delivered before.
 */
async function hasEndedUnseen({ ports, session, signal }: ActivityScope): Promise<boolean> {
  const age = ports.clock.now() - (session.job?.createdAt ?? 0);
  if (session.delivery.deliveries === 1 && age < youngMs) return false;
  const extensions = await ports.controlPlane.extensions(signal);
  if (!extensions.ok || extensions.value.has("idempotent-results")) return false;
  const steps = await ports.controlPlane.steps(session.key.runId, signal);
  const step = steps.ok ? steps.value.find(({ id }) => id === session.key.stepId) : undefined;
  return step !== undefined && isStepEnded(step.status);
}

/**
 * Why the job can't be run, with what its record adds: a kept job takes the place of an unreadable delivery, and of a
 * job delivered too often the journal knows why its first attempt was abandoned and what may have been done.
 */
function problemOf(
  { problem: found }: Pick<StepContext, "problem">,
  kept: Job | null,
  journal: Journal,
): Failure | null {
  if (found === null) return null;
  if (found.kind === "invalid_job") return kept === null ? found : null;
  const doubts = journal.inDoubt();
  const parts = [
    found.message,
    ...(journal.firstTrouble === null ? [] : [`at first: ${journal.firstTrouble}`]),
    ...(doubts.length === 0
      ? []
      : [`${doubts.join(", ")} was started and may have run; its outcome was not recorded`]),
  ];
  return { ...found, message: cutText(parts.join("; "), 1_000) };
}

/** The absolute times, epoch milliseconds, that follow from when the job was created; null for none. */
export function due(
  job: Job | null,
  { deadlines }: Pick<RuntimeOptions, "deadlines">,
): { queue: number | null; total: number | null } {
  const createdAt = job?.createdAt ?? null;
  const after = (ms: number | null) => (createdAt === null || ms === null ? null : createdAt + ms);
  return { queue: after(deadlines.queueMs), total: after(deadlines.totalMs) };
}

const states = ["pending", "policy-check", "awaiting-approval", "executing", "validating"] as const;

const versioned = once(() => type({ version: "number.integer", snapshot: "object" }));

const snapshotShape = once(() =>
  type({
    value: "string | object",
    context: {
      verdict: verdictShape().or("null"),
      asks: askShape().array(),
      grants: grantShape().array(),
      /** Absent in what was parked before a no could be told to a handler. */
      "refusals?": refusalShape().array(),
      attempts: "number.integer >= 0",
      /** Absent in what was parked before a step could wait uncounted. */
      "heldSince?": "number | null",
      /** Absent in what was parked before a look at policy had a count of its own. */
      "checks?": "number.integer >= 0",
      repairs: "number.integer >= 0",
      /** Absent in what was parked before what was spent was kept. */
      "usage?": usageShape().or("null"),
      repairNote: "string | null",
      /** Absent in what was parked before a model was shown its own answer. */
      "repairAnswer?": "string | null",
      retryAt: "number | null",
      costly: "boolean",
    },
  }),
);

const resultShape = once(() => stepResultShape().or("null"));

export type ReadRecord =
  | { ok: false; problem: string }
  | {
      ok: true;
      result: StepResult | null;
      journal: JournalEntry[];
      left: { left: LeftOff; kept: Partial<StepContext> } | null;
    };

/**
 * Checks what a store kept of a step. Snapshots and journals are data from outside: what can't be read is
 * named, and ends in the dead letters, never in a crash or a silent restart.
 */
export function readRecord(record: StepRecord): ReadRecord {
  const result = resultShape()(record.result ?? null);
  if (result instanceof type.errors) return problem("result", result.summary);
  const journal = journalEntryShape().array()(record.journal);
  if (journal instanceof type.errors) return problem("journal", journal.summary);
  const read = { ok: true, result: result as StepResult | null } as const;
  const lines = journal as JournalEntry[];
  if (record.snapshot === null || record.snapshot === undefined) {
    return { ...read, journal: lines, left: null };
  }
  const snapshot = versioned()(record.snapshot);
  if (snapshot instanceof type.errors) return problem("snapshot", snapshot.summary);
  if (snapshot.version !== stepMachineVersion) {
    const known = `this worker reads version ${stepMachineVersion}`;
    return problem(
      "snapshot",
      `written by version ${snapshot.version} of the step chart; ${known}`,
    );
  }
  const taken = snapshotShape()(snapshot.snapshot);
  if (taken instanceof type.errors) return problem("snapshot", taken.summary);
  const state = states.find((name) => name === topLevel(taken.value));
  if (state === undefined) {
    return problem(
      "snapshot",
      `state ${JSON.stringify(taken.value)} is none of ${states.join(", ")}`,
    );
  }
  return { ...read, journal: lines, left: { left: leftOff(state), kept: memory(taken.context) } };
}

function problem(part: string, what: string): ReadRecord {
  return {
    ok: false,
    problem: cutText(`the stored ${part} of the step can't be read: ${what}`, 500),
  };
}

function leftOff(state: (typeof states)[number]): LeftOff {
  return state === "awaiting-approval" ? "awaiting-approval" : "policy-check";
}

/** Only what a later state reads; limits are today's, the job is the delivery's. */
function memory(
  context: ReturnType<typeof snapshotShape>["infer"]["context"],
): Partial<StepContext> {
  const {
    verdict,
    asks,
    grants,
    refusals = [],
    attempts,
    heldSince = null,
    checks = 0,
    repairs,
    usage = null,
    repairNote,
    repairAnswer = null,
    retryAt,
    costly,
  } = context;
  return {
    verdict: verdict as StepContext["verdict"],
    asks: asks as StepContext["asks"],
    grants,
    refusals,
    attempts,
    heldSince,
    checks,
    repairs,
    usage,
    repairNote,
    repairAnswer,
    retryAt,
    costly,
  };
}
