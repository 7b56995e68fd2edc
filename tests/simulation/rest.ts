import { parseJob } from "../../machines/contracts/domain/job.ts";
import type { StepRecord } from "../../machines/contracts/domain/record.ts";
import type { DeadLetter, StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Crew } from "./crew.ts";
import type { Stage } from "./worker.ts";

/** Nothing on the stream, nobody at work, and what is parked waits for a person. */
export async function isQuiet(stage: Stage, backend: StepBackend, crew: Crew): Promise<boolean> {
  if (stage.plane.underWay > 0 || (await backend.queue.stats()).length > 0) return false;
  if ([...crew.alive.values()].some(({ runtime }) => runtime.steps().length > 0)) return false;
  const letters = lettersByStep(await backend.queue.deadLetters(1_000));
  for (const { stepId, runId, kind } of stage.plan.steps) {
    if (kind === "nameless" || letters.has(stepId)) continue;
    const record = await backend.store.find({ runId, stepId });
    if (!isAtRest(stage, stepId, record)) return false;
  }
  return true;
}

/** Whether a step has ended, or waits for nothing but a person. */
export function isAtRest(
  { plane, world }: Stage,
  stepId: string,
  record: StepRecord | null,
): boolean {
  if (record?.phase === "reported") return true;
  // The store forgot it after it had ended, or after its run had; nothing is on the stream either.
  const { status, plan } = plane.steps.get(stepId) ?? {};
  const isRunOver = plane.runs.get(plan?.runId ?? "")?.ended != null;
  const isOver = status === "completed" || status === "failed" || isRunOver;
  if (record === null && isOver) return true;
  if (record?.phase !== "parked") return false;
  const isSoon = record.wakeAt !== null && record.wakeAt < world.now() + 600_000;
  return !isSoon && plane.approvals.some((one) => one.stepId === stepId && plane.isOpen(one));
}

/** Dead letters by the step that their job names. */
export function lettersByStep(letters: readonly DeadLetter[]): Map<string, DeadLetter> {
  return new Map(
    letters.flatMap((letter) => {
      const parsed = parseJob(letter.fields);
      const { stepId } = parsed.valid ? parsed.job : parsed.invalid;
      return stepId === null ? [] : [[stepId, letter]];
    }),
  );
}
