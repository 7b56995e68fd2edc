import type { StepHandler } from "../../actors/handlers/handler.ts";
import { type Cards, chargeAction } from "./cards.ts";

/**
 * WRONG, on purpose: the bank is called outside `scope.effect`. It works in every test that kills nobody; after
 * a crash between the charge and the report, the next worker charges again.
 */
export function chargeCardUnjournalled(cards: Cards): StepHandler {
  return async ({ job, permission }) => {
    const { card, cents } = job.input["tool_input"] as { card: string; cents: number };
    const permitted = await permission(chargeAction(card, cents));
    if (!permitted.allowed) return permitted.result;

    const charged = await cards.charge(card, cents);
    if (!charged.ok) return { kind: "failed", failure: charged.failure };
    return { kind: "done", output: { receipt: charged.value } };
  };
}
