import { isJsonObject } from "../machines/contracts/domain/json.ts";
import type { Gates, Trial } from "./contracts.ts";

/**
 * Who made up what trials were judged by: a stand-in, which answers where no model has a key, is never what a suite is
 * about; a script or a recording may be. Asked of the trials, and not of what is configured now: an eval that goes on may
 * have trials of a time when no key was set.
 */
export type MadeUpBy = "stand-in" | "script" | "judge";

/** @param isOwnModel the suite brought the model that was asked; a worker elsewhere asks its own */
export function madeUpBy(
  trials: readonly Trial[],
  { deterministic }: Gates,
  isOwnModel: boolean,
): MadeUpBy | null {
  if (trials.some((trial) => hasAnswer(trial, "stand_in"))) return "stand-in";
  if (deterministic === true) return null;
  if (!isOwnModel && trials.some((trial) => hasAnswer(trial, "scripted"))) return "script";
  return trials.some(({ is_judge_scripted: is }) => is === true) ? "judge" : null;
}

/** In the outputs of models alone: what a tool gives back may hold any key. */
const hasAnswer = ({ observation }: Trial, mark: "stand_in" | "scripted"): boolean =>
  observation?.steps?.some(
    ({ type, output }) => type === "llm" && isJsonObject(output) && output[mark] === true,
  ) === true;
