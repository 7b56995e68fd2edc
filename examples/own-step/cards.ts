import type { Action } from "../../machines/contracts/domain/action.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";

/** The neighbours of this example's step: a rate service that costs money, and a bank. */
export interface Cards {
  /** Cents in the card's currency. May be asked twice, but each time is billed. */
  convert(cents: number): Promise<Outcome<number>>;
  /** Takes the money. Asked twice, it takes it twice. */
  charge(card: string, cents: number): Promise<Outcome<string>>;
}

/** What a person is shown, and what policy judges, before a card is charged. */
export const chargeAction = (card: string, cents: number): Action => ({
  kind: "tool",
  name: "charge_card",
  input: { card, cents },
});
