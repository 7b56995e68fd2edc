import type { Requirement } from "./requirements.ts";

/** What is promised of workflows. */
export const workflowRequirements: readonly Requirement[] = [
  {
    id: "workflow.positions",
    promise:
      "what is wrong in a workflow's definition is told with its line, its column and what was expected",
  },
  { id: "workflow.bounds", promise: "reading a definition takes no longer than its text is long" },
  { id: "workflow.format", promise: "FerrumDeck's workflow definitions are taken" },
  {
    id: "workflow.scheduler",
    promise:
      "a workflow's run ends as its rules say, whatever fails, is skipped, comes twice or dies",
  },
  { id: "workflow.flat", promise: "scheduling a step costs the same however many there are" },
  {
    id: "workflow.saved",
    promise: "a run goes on only by the definition and layout it was saved by",
  },
];
