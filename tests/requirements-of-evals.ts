import type { Requirement } from "./requirements.ts";

/** What evals promise: that their numbers are right, and that a gate tells the truth. */
export const evalRequirements: readonly Requirement[] = [
  {
    id: "evals.statistics",
    promise:
      "statistics are those that others' programs compute, and claim no more than a sample shows",
  },
  { id: "evals.scorers", promise: "each scorer gives the known score of every known case" },
  {
    id: "evals.skipped",
    promise: "what does not apply counts for nothing, and what nobody could see never passes",
  },
  {
    id: "evals.sources",
    promise: "what can't be read of a run makes its trial broken, and is never taken for nothing",
  },
  {
    id: "evals.cost",
    promise:
      "a limit of cost counts every try and every judge, and stops at a cost that nobody knows",
  },
  {
    id: "evals.within",
    promise: "what a dataset or a suite names stays in its folder, links included",
  },
  { id: "evals.alone", promise: "a scorer that fails takes no other score with it" },
  {
    id: "evals.datasets",
    promise: "what is wrong in a dataset is told by file, line and field, and the rest can be used",
  },
  {
    id: "evals.seen",
    promise: "what changed in a trial's folder is seen, whatever the agent did to its repository",
  },
  {
    id: "evals.real",
    promise:
      "a suite runs for real, and breaking a fix fails exactly the scorers that judge what it broke",
  },
  {
    id: "evals.own",
    promise:
      "the suites that come with the program pass, and the attacks that policy stops succeed without it",
  },
  {
    id: "evals.resumed",
    promise: "an eval that was killed goes on, and makes no finished trial twice",
  },
  {
    id: "evals.report-file",
    promise: "a report is read as it was written, or refused with the place of what is wrong",
  },
  {
    id: "evals.gate-chance",
    promise:
      "a gate that nothing happened to fails in at most 5 % of comparisons, all its tests taken together",
  },
  {
    id: "evals.gate-regression",
    promise: "a gate fails a real regression, and names its tasks",
  },
  {
    id: "evals.gate-real",
    promise: "a gate on real runs passes an unchanged agent, and names the tasks that broke",
  },
  {
    id: "evals.scorer-lock",
    promise: "reports that were judged by other code of the suite's scorers are not compared",
  },
  {
    id: "evals.made-up",
    promise:
      "a report whose answers or judgements no model gave is a mock, unless the suite says that a script is meant",
  },
  {
    id: "evals.gate-fallen",
    promise:
      "a task that always passed and never does now fails the gate, unless chance explains it",
  },
  {
    id: "evals.gate-effort",
    promise: "a gate fails an agent that costs or does more, and one that got cheaper by giving up",
  },
  { id: "evals.gate-limits", promise: "what a suite demands of its gate is in force" },
  {
    id: "evals.gate-unseen",
    promise:
      "what was made up, stopped, broken or not run never passes a gate, and the sample's size is said",
  },
  { id: "evals.baseline", promise: "a baseline is read as it was written, or refused by its line" },
  {
    id: "evals.reports",
    promise: "a report in each format is well-formed, bounded, and runs nothing that an agent said",
  },
  {
    id: "evals.page",
    promise:
      "a report's page shows each task's states and scores without a network, by keys, in light and dark",
  },
  {
    id: "evals.gate-command",
    promise:
      "the commands of gates and reports answer by their exit codes, and name what they can't use",
  },
];
