import { isId, type Job, parseJob } from "../domain/job.ts";
import { isJsonObject, type Json } from "../domain/json.ts";
import { isDeeperThan } from "../domain/json-text.ts";
import type { StepKey, StepRecord } from "../domain/record.ts";

/** A step's record as stores keep it: every part as text, absent or empty when there is none. */
export type RecordText = Partial<
  Record<"phase" | "fence" | "job" | "snapshot" | "result" | "stateHistory" | "wakeAt", string>
>;

const phases: readonly StepRecord["phase"][] = ["open", "parked", "recorded", "reported"];

/**
 * A record as read from a store. Never throws: text that is not JSON comes back as that text, for the reader
 * of snapshots, results and journals to refuse with its name.
 */
export function readRecordText(
  key: StepKey,
  text: RecordText,
  journal: readonly string[],
): StepRecord {
  const stateHistory = looseJson(text.stateHistory);
  const isPath =
    Array.isArray(stateHistory) && stateHistory.every((state) => typeof state === "string");
  return {
    runId: key.runId,
    stepId: key.stepId,
    phase: phases.find((phase) => phase === text.phase) ?? "open",
    fence: number(text.fence) ?? 0,
    job: readJob(text.job),
    snapshot: looseJson(text.snapshot),
    result: looseJson(text.result),
    journal: journal.map(readJournalLine),
    stateHistory: isPath ? stateHistory : [],
    wakeAt: number(text.wakeAt),
  };
}

/** A journal's line: JSON, behind an identity and a space where the store gave it one. */
export function readJournalLine(line: string): Json {
  return looseJson(/^[\w-]+\.\w+ (.*)$/s.exec(line)?.[1] ?? line);
}

/** `{runId}/{stepId}`, escaped so that no two steps share one whatever their ids contain. */
export function recordId({ runId, stepId }: StepKey): string {
  return `${escape(runId)}/${escape(stepId)}`;
}

/** The step that a name of {@link recordId} stands for; null where it stands for none. */
export function stepOfRecordId(id: string): StepKey | null {
  const [runId = "", stepId = "", ...more] = id.split("/").map(unescape);
  if (more.length > 0 || !isId(runId) || !isId(stepId)) return null;
  return recordId({ runId, stepId }) === id ? { runId, stepId } : null;
}

function unescape(text: string): string {
  return text.replaceAll("%2F", "/").replaceAll("%25", "%");
}

function escape(id: string): string {
  return /[%/]/.test(id) ? id.replaceAll("%", "%25").replaceAll("/", "%2F") : id;
}

/** Nothing that we keep is nested so deep; what is would break whoever writes it again. */
const deepestKept = 500;

/** The value of JSON text, or the text itself where it is none or too deep; null for nothing. */
export function looseJson(text: string | undefined | null): Json {
  if (text === undefined || text === null || text === "") return null;
  try {
    const value = JSON.parse(text) as Json;
    return isDeeperThan(text, deepestKept) ? text : value;
  } catch {
    return text;
  }
}

/**
 * Why a job is a dead letter: the first cause is why its first attempt was abandoned, as the journal says; what ended
 * it stands beside that, where it is something else.
 */
export function causesOf(
  reason: string,
  journal: readonly Json[],
): { reason: string; lastTrouble: string | null } {
  const first = journal.find(isAbandoned)?.["message"];
  if (typeof first !== "string" || first === reason) return { reason, lastTrouble: null };
  return { reason: first, lastTrouble: reason };
}

/**
 * What a dead letter's retry puts back. A completed result, as JSON, to be reported again, else nothing: what a failed
 * one rests on is in the journal. Of the journal all but the attempts that were given up: a person begins anew.
 */
export function whatRetryKeeps(
  result: string | undefined,
  lines: readonly string[],
): { result: string; lines: string[] } {
  const kept = looseJson(result);
  const isCompleted = isJsonObject(kept) && kept["status"] === "completed";
  return {
    result: isCompleted ? (result ?? "") : "",
    lines: lines.filter((line) => !isAbandoned(readJournalLine(line))),
  };
}

function isAbandoned(line: Json): line is { event: "abandoned"; message: Json } {
  return isJsonObject(line) && line["event"] === "abandoned";
}

function readJob(envelope: string | undefined): Job | null {
  const parsed = envelope ? parseJob({ data: envelope }) : null;
  return parsed?.valid ? parsed.job : null;
}

function number(text: string | undefined): number | null {
  const value = text ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : null;
}
