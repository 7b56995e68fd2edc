import type { PlannedStep } from "../../adapters/control-plane/api.ts";
import type { AgentSeed } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentTask, allowed, asked, type tools } from "./ledger-effects.ts";

/** What a step of the crash tests does: one of the ledger's tools, a retrieval, a loop of one call or of three, a question. */
export type StepKind = keyof typeof tools | "retrieve" | "loop" | "agent" | "question";

/** A step that does its one thing under the name `order`, which no other step has. */
export function planStep(kind: StepKind, order: string): PlannedStep {
  // One that fails must not end the run and so hide the others.
  const more = { name: order, on_error: "continue" } as const;
  switch (kind) {
    case "retrieve":
      return { ...more, type: "retrieval", input: { query: order, backend: "local" } };
    case "loop":
      return { ...more, type: "llm", input: { task: order } };
    case "agent":
      return { ...more, type: "llm", input: { task: agentTask(order) } };
    case "question":
      return { ...more, type: "approval", input: { message: order } };
    default:
      return { ...more, type: "tool", input: { tool_name: kind, tool_input: { order } } };
  }
}

/** The agent of the crash tests: no budget in its way. */
export const chaosAgent: AgentSeed = {
  slug: "chaos",
  allowedTools: allowed,
  approvalRequiredTools: asked,
  budget: { max_tool_calls: 1_000_000, max_wall_time_ms: 24 * 60 * 60 * 1_000 },
};

/** Of an approval's action: whether it asks about an effect that may already have run, and which. */
export function repeatOf(action: unknown): string | null {
  const { kind, name } = action as JsonObject;
  return kind === "repeat" ? String(name) : null;
}
