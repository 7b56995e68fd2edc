import { type Job, toEnvelope, type StepType } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { firstToolbox } from "./neighbours.ts";
import type { StepKind, StepPlan } from "./plan.ts";

const types: Record<StepKind, StepType> = {
  pay: "tool",
  put: "tool",
  look: "tool",
  stray: "tool",
  model: "llm",
  loop: "llm",
  pair: "llm",
  sandbox: "sandbox",
  retrieval: "retrieval",
  approval: "approval",
  invalid: "tool",
  nameless: "tool",
};

/** What a tool or a loop step is given: `ref` says whose effect it is. */
function inputOf({ kind, stepId, spelling }: StepPlan): JsonObject {
  const tool = (name: string) => ({
    tool_name: spelling === "full" ? `${firstToolbox.server}/${name}` : name,
    tool_input: { ref: stepId },
  });
  switch (kind) {
    case "pay":
    case "put":
    case "look":
      return tool(kind);
    case "stray":
      return tool("vault.look");
    case "model":
      return { prompt: stepId };
    case "loop":
    case "pair":
      return { task: stepId, allowed_tools: ["pay"] };
    case "sandbox":
      return { code: stepId, language: "bash" };
    case "retrieval":
      return { query: stepId };
    default:
      return { message: `may ${stepId} go on?` };
  }
}

/** The stream fields of a planned step's job. */
export function fieldsOf(
  step: StepPlan,
  createdAt: number,
  isHuman: boolean,
): Record<string, string> {
  if (step.kind === "nameless") return { data: "neither JSON nor a name" };
  const job: Job = {
    runId: step.runId,
    stepId: step.stepId,
    stepType: step.kind === "invalid" ? ("dance" as StepType) : types[step.kind],
    input: inputOf(step),
    tenantId: null,
    projectId: null,
    agentId: null,
    traceId: null,
    spanId: null,
    createdAt,
  };
  const envelope = toEnvelope(job);
  // FerrumDeck's own word for an approval step, in which it puts an approved one back.
  return {
    data: isHuman ? envelope.replace('"step_type":"approval"', '"step_type":"human"') : envelope,
  };
}
