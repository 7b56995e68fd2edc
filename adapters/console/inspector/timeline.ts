import type { StepRecord } from "../../../machines/contracts/domain/record.ts";
import type { Entry } from "./entries.ts";
import type { Feed } from "./feed.ts";

/** One session of a step, or one walk of another machine, as the page steps through it. */
interface Session {
  id: number;
  machine: string;
  name: string;
  began: number;
  outcome: string | null;
  /** States that it passed before it was watched. */
  passed: readonly string[];
  /** Of all its moments the number of the first that is kept. */
  from: number;
  moments: { at: number; event: string; value: string; isRecorded: boolean }[];
}

/** All that is known of a step here: its sessions, the oldest first, and what belongs to it. Of other machines, itself. */
export function timelineOf(
  feed: Feed,
  entry: Entry,
): { sessions: Session[]; related: { id: number; machine: string; name: string }[] } {
  const { machine, runId, stepId } = entry.actor;
  const all =
    runId === null ? [] : [...feed.entries()].filter(({ actor }) => actor.runId === runId);
  const isSame = ({ actor }: Entry) =>
    machine === "step" && actor.machine === "step" && actor.stepId === stepId;
  const sessions = all.filter(isSame);
  const related = all.filter(
    (other) =>
      other !== entry &&
      !isSame(other) &&
      // A workflow's run belongs to all its steps, a loop to its own.
      (other.actor.stepId === stepId || other.actor.stepId === null || stepId === null),
  );
  return {
    sessions: (sessions.includes(entry) ? sessions : [entry]).map(sessionOf),
    related: related.slice(-20).map(({ id, actor }) => ({
      id,
      machine: actor.machine,
      name: actor.name,
    })),
  };
}

function sessionOf({ id, actor, began, outcome, moments, moves }: Entry): Session {
  return {
    id,
    machine: actor.machine,
    name: actor.name,
    began,
    outcome,
    passed: actor.passed,
    from: moves - moments.length,
    moments: moments.map(({ at, event, value, context }) => ({
      at,
      event,
      value,
      isRecorded: context !== undefined,
    })),
  };
}

/** What one moment was about; its number counts all that the entry ever had. */
export function detailOf(
  { moments, moves }: Entry,
  n: number,
): { event: unknown; context: unknown } | null {
  const moment = moments[n - (moves - moments.length)];
  if (moment === undefined) return null;
  return { event: moment.detail, context: moment.context ?? null };
}

/** What the store keeps of a step, as the page shows it. */
export function recordOf(record: StepRecord): object {
  const { phase, fence, wakeAt, stateHistory, journal, result, snapshot } = record;
  const { snapshot: kept } = (snapshot ?? {}) as { snapshot?: { context?: unknown } };
  return { phase, fence, wakeAt, stateHistory, journal, result, context: kept?.context ?? null };
}
