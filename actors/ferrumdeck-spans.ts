import { type Attributes, trace } from "@opentelemetry/api";
import type { Action, Verdict } from "../machines/contracts/domain/action.ts";
import type { Json } from "../machines/contracts/domain/json.ts";
import { microsPerCent } from "../machines/contracts/domain/budget.ts";
import type { Usage } from "../machines/contracts/domain/step-result.ts";
import type { ToolTarget } from "../machines/contracts/ports/tool-host.ts";
import { isLeftOut } from "./tracing.ts";

/*
 * What FerrumDeck's worker calls things in its spans, beside the conventions' names and only where it is asked for: for
 * dashboards that were made for it. Besides the attributes that is a span without length for each verdict on a tool.
 */

const tracer = trace.getTracer("stateplane");

export const ferrumdeckUsage = (provider: string, usage: Usage): Attributes => ({
  "gen_ai.system": provider,
  "gen_ai.usage.total_tokens": usage.inputTokens + usage.outputTokens,
  ...(usage.costMicros === undefined
    ? {}
    : { "gen_ai.usage.cost_usd": usage.costMicros / (100 * microsPerCent) }),
});

export const ferrumdeckTool = ({ name, server }: ToolTarget): Attributes => ({
  "tool.name": name,
  "tool.server": server,
});

export const ferrumdeckToolEnd = (isOk: boolean): Attributes => ({
  "tool.status": isOk ? "success" : "error",
  "tool.success": isOk,
});

const decisions = { allow: "allow", ask: "approval", deny: "deny" } as const;

/** The span of a verdict, below that of the step. */
export function spanOfVerdict({ kind, reason, details = {} }: Verdict, action: Action): void {
  if (action.kind !== "tool" || isLeftOut()) return;
  const { response_level: rung, budget_exceeded: passed } = details;
  const span = tracer.startSpan("gen_ai.tool.call", {
    attributes: {
      "gen_ai.tool.name": action.name,
      "ferrumdeck.decision": decisions[kind],
      "ferrumdeck.reason": reason,
      ...(typeof rung === "string" ? { "ferrumdeck.rung": rung } : {}),
      ...leftOf(passed),
    },
  });
  span.end();
}

/** What is left of the budget that a call would have passed: the worker knows no other. */
function leftOf(passed: Json | undefined): Attributes {
  if (typeof passed !== "object" || passed === null || Array.isArray(passed)) return {};
  const { most, used } = passed;
  if (typeof most !== "number" || typeof used !== "number") return {};
  return { "ferrumdeck.budget_remaining": Math.max(0, most - used) };
}
