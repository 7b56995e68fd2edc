import type { JsonObject } from "../../../../machines/contracts/json.ts";
import type { StepType } from "../../../../machines/contracts/step-type.ts";
import type { AgentVersion } from "../documents.ts";

/**
 * The input of a step's job: the caller's own, with the agent version's settings where the step's type has a
 * use for them. The reference lets the caller override all of them; here system prompt, model and tools are the
 * version's, and the caller's only where the version has none.
 */
export function jobInput(version: AgentVersion, type: StepType, input: JsonObject): JsonObject {
  const tools = usableTools(version);
  if (type === "tool") return tools === null ? input : { ...input, allowed_tools: tools };
  if (type !== "llm") return input;
  return {
    model_params: version.modelParams,
    ...input,
    ...(version.systemPrompt === null ? {} : { system_prompt: version.systemPrompt }),
    ...(version.model === null ? {} : { model: version.model }),
    ...(tools === null ? {} : { allowed_tools: tools }),
  };
}

/** Tools the agent may at least ask for: a tool that needs approval must be offered to be asked about. */
function usableTools(version: AgentVersion): string[] | null {
  const { allowedTools, approvalRequiredTools, deniedTools } = version;
  if (allowedTools === null && approvalRequiredTools.length === 0) return null;
  const named = new Set([...(allowedTools ?? []), ...approvalRequiredTools]);
  return [...named].filter((tool) => !deniedTools.includes(tool));
}
