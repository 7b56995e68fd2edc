import type { Requirement } from "./requirements.ts";

/** Recorded steps and runs, walked through once more. */
export const replayRequirements: readonly Requirement[] = [
  {
    id: "replay.same",
    promise: "a replay without changes comes out as the step did, and touches nothing outside",
  },
  { id: "replay.ends", promise: "a replay makes nothing up: where its recording ends, it ends" },
  { id: "replay.named", promise: "what went into an effect otherwise than recorded is named" },
  {
    id: "replay.fork",
    promise:
      "a replay that goes its own way makes no call that was never recorded, unless that was allowed",
  },
  {
    id: "replay.task",
    promise:
      "a run becomes a task with its recording beside it, without secrets, and is replayed from there",
  },
  {
    id: "evals.trajectory",
    promise: "scorers of an agent's way give the known score of every known case",
  },
  {
    id: "evals.arguments",
    promise: "arguments are right by type, range and alternatives, and no call counts twice",
  },
  {
    id: "judges.threshold",
    promise: "a judge gives points; whether they are enough, the suite's threshold says",
  },
  {
    id: "judges.read",
    promise: "a judgement is read by its shape alone, asked for once more, and then broken",
  },
  { id: "judges.injection", promise: "work can't leave its marks and tell its judge what to do" },
  { id: "judges.lock", promise: "another prompt, model or setting of a judge is another lock" },
  { id: "judges.panel", promise: "a panel judges by its median, and not without its majority" },
  { id: "judges.pair", promise: "a judge of pairs that prefers a place decides nothing" },
  {
    id: "judges.calibrated",
    promise: "a judge's rates, kappa and corrected pass rate are those of published examples",
  },
];
