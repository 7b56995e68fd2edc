import type { Requirement } from "./requirements.ts";

/** Random histories of whole workers. */
export const historyRequirements: readonly Requirement[] = [
  {
    id: "history.repeat",
    promise: "nothing is repeated unseen, not even from a dead letter that is put back",
  },
  {
    id: "history.permission",
    promise:
      "nothing runs that is denied now, for an ended run, or under an approval of something else",
  },
  {
    id: "history.trouble",
    promise: "a neighbour's trouble fails no step, pays nothing twice and loses no result",
  },
  {
    id: "history.agent",
    promise:
      "an agent's model is told of each call what became of it, and each call goes to the tool it was offered or nowhere, whatever is cut, changed or away meanwhile",
  },
  { id: "history.plane", promise: "only the control plane's own answer is an answer" },
  {
    id: "history.ended",
    promise: "what has ended at a control plane that guards nothing stays as it ended",
  },
  {
    id: "history.vanished",
    promise: "a step whose entry vanished, or whose last writes were lost, still ends",
  },
  { id: "history.clocks", promise: "no worker's clock decides anything" },
  {
    id: "history.silence",
    promise: "each end, delayed report and abandoned attempt is a line in the log",
  },
];
