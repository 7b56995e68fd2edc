import type { StepHandler } from "../../actors/handlers/handler.ts";
import { type Cards, chargeAction } from "./cards.ts";

/** A step of one's own: converts an amount and charges a card. The job's input is `{card, cents}`. */
export function chargeCard(cards: Cards): StepHandler {
  return async ({ job, permission, effect }) => {
    const { card, cents } = job.input["tool_input"] as { card: string; cents: number };
    const permitted = await permission(chargeAction(card, cents));
    if (!permitted.allowed) return permitted.result;

    const converted = await effect({
      name: "convert",
      input: { cents },
      repeat: "safe",
      run: () => cards.convert(cents),
    });
    if (!converted.ok) return converted.result;

    const charged = await effect({
      name: "charge_card",
      input: { card, cents },
      repeat: "unsafe",
      action: permitted.action,
      ...(permitted.grant === null ? {} : { grant: permitted.grant }),
      run: () => cards.charge(card, cents),
    });
    if (!charged.ok) return charged.result;
    return { kind: "done", output: { receipt: charged.value, charged: converted.value } };
  };
}
