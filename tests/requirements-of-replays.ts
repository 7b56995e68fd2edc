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
    id: "evals.trajectory",
    promise: "scorers of an agent's way give the known score of every known case",
  },
  {
    id: "evals.arguments",
    promise: "arguments are right by type, range and alternatives, and no call counts twice",
  },
];
