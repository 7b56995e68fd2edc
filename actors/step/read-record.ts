import { type } from "arktype";
import { askShape, grantShape } from "../../machines/contracts/action.ts";
import { type JournalEntry, journalEntryShape } from "../../machines/contracts/journal.ts";
import type { StepRecord } from "../../machines/contracts/record.ts";
import { type StepResult, stepResultShape } from "../../machines/contracts/step-result.ts";
import { verdictShape } from "../../machines/contracts/verdict.ts";
import type { StepContext } from "../../machines/step/context.ts";
import type { LeftOff } from "../../machines/step/events.ts";
import { stepMachineVersion } from "../../machines/step/machine.ts";
import { topLevel } from "./top-level.ts";

const states = ["pending", "policy-check", "awaiting-approval", "executing", "validating"] as const;

const versioned = type({ version: "number.integer", snapshot: "object" });

const snapshotShape = type({
  value: "string | object",
  context: {
    verdict: verdictShape.or("null"),
    asks: askShape.array(),
    grants: grantShape.array(),
    attempts: "number.integer >= 0",
    repairs: "number.integer >= 0",
    repairNote: "string | null",
    retryAt: "number | null",
    costly: "boolean",
  },
});

const resultShape = stepResultShape.or("null");

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
  const result = resultShape(record.result ?? null);
  if (result instanceof type.errors) return problem("result", result.summary);
  const journal = journalEntryShape.array()(record.journal);
  if (journal instanceof type.errors) return problem("journal", journal.summary);
  const read = { ok: true, result: result as StepResult | null } as const;
  const lines = journal as JournalEntry[];
  if (record.snapshot === null || record.snapshot === undefined) {
    return { ...read, journal: lines, left: null };
  }
  const snapshot = versioned(record.snapshot);
  if (snapshot instanceof type.errors) return problem("snapshot", snapshot.summary);
  if (snapshot.version !== stepMachineVersion) {
    const known = `this worker reads version ${stepMachineVersion}`;
    return problem(
      "snapshot",
      `written by version ${snapshot.version} of the step chart; ${known}`,
    );
  }
  const taken = snapshotShape(snapshot.snapshot);
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
  return { ok: false, problem: `the step's kept ${part} can't be read: ${what}`.slice(0, 500) };
}

function leftOff(state: (typeof states)[number]): LeftOff {
  if (state === "awaiting-approval") return "awaiting-approval";
  return state === "executing" || state === "validating" ? "executing" : "policy-check";
}

/** Only what a later state reads; limits are today's, the job is the delivery's. */
function memory(context: typeof snapshotShape.infer.context): Partial<StepContext> {
  const { verdict, asks, grants, attempts, repairs, repairNote, retryAt, costly } = context;
  return {
    verdict,
    asks: asks as StepContext["asks"],
    grants,
    attempts,
    repairs,
    repairNote,
    retryAt,
    costly,
  };
}
