import type { Requirement } from "./requirements.ts";

/** What is promised of workflows. */
export const workflowRequirements: readonly Requirement[] = [
  {
    id: "workflow.safe-pr",
    promise:
      "the sample workflow mends, tests and pushes a real repository, and pushes nothing unapproved",
  },
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
  { id: "workflow.walk", promise: "FerrumDeck's sample workflow walks to its end" },
  {
    id: "workflow.killed",
    promise: "a run whose process dies between any two events ends the same",
  },
  {
    id: "workflow.pauses",
    promise: "an approval pauses its workflow, and a no or silence ends it",
  },
  { id: "workflow.fan-out", promise: "a list is worked through, so many items at a time" },
  {
    id: "workflow.steps",
    promise: "branches, parallel steps and workflows in workflows run as they are written",
  },
  {
    id: "workflow.errors",
    promise: "a failed step ends its run, is tried again or blocks what needs it, as it says",
  },
  {
    id: "workflow.conditions",
    promise: "a condition gives the same answer whatever its values are, and never an exception",
  },
  {
    id: "workflow.paths",
    promise: "paths are RFC 9535's, and their cost is bounded by what they look at",
  },
  {
    id: "workflow.typed",
    promise: "a workflow in TypeScript is the same definition, and checked as it is written",
  },
  {
    id: "workflow.sample",
    promise: "FerrumDeck's sample workflow runs from the command line, and pauses at its approvals",
  },
  {
    id: "workflow.sample-killed",
    promise:
      "killed between any two steps and started again, it ends the same, each call made once",
  },
  {
    id: "workflow.api",
    promise: "workflows are registered, run, shown and cancelled over FerrumDeck's routes",
  },
  {
    id: "workflow.host",
    promise: "a control plane that dies at any moment of a workflow's run ends it the same",
  },
  {
    id: "workflow.stops",
    promise: "a step whose time is over is told to stop, and not tried again before it has",
  },
  {
    id: "workflow.stop-heard",
    promise: "a worker hears that one of a run's steps is to stop, and ends it",
  },
  {
    id: "workflow.ends",
    promise: "a run that fails or is cancelled ends at once, and takes nothing more",
  },
  {
    id: "workflow.command",
    promise: "a definition can be checked and drawn from the command line",
  },
];
