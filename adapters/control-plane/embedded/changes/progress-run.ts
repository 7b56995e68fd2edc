import type { Run } from "../documents.ts";
import { nextMove } from "../rules/next-move.ts";
import type { Change } from "./change.ts";
import { endRun } from "./end-run.ts";

/** A step of the run has ended: the next one is enqueued, or the run ends. */
export function progressRun(change: Change, run: Run): Run {
  const { store } = change;
  const steps = store.steps.ofRun(run.id);
  const move = nextMove(steps);
  switch (move.kind) {
    case "wait":
      return change.saveRun({ ...run, status: "running" });
    case "enqueue": {
      const next = store.steps.find(move.stepId);
      if (next !== undefined) change.enqueue(run, next);
      return change.saveRun({ ...run, status: "running" });
    }
    case "fail": {
      const error = store.steps.find(move.stepId)?.error ?? null;
      return endRun(change, run, { status: "failed", reason: "Step failed", error });
    }
    case "complete":
      return endRun(change, run, { status: "completed", reason: null, output: move.output });
  }
}
