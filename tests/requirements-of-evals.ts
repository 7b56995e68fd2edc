import type { Requirement } from "./requirements.ts";

/** What evals promise: that their numbers are right, and that a gate tells the truth. */
export const evalRequirements: readonly Requirement[] = [
  {
    id: "evals.statistics",
    promise:
      "statistics are those that others' programs compute, and claim no more than a sample shows",
  },
];
