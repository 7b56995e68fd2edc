import { isJsonObject, type Json } from "../../machines/contracts/domain/json.ts";

/*
 * What expressions cost, in looks at a part of a value. Definitions and the values that they look at may both come from
 * whoever shares a control plane with others, and a short path can look at a long value again and again: so every look is
 * counted, and a step whose expressions take far too many fails.
 */

/** Looks of one step's expressions: about a second. */
const mostLooks = 1_000_000;
/** What a look costs in characters that are read and written. */
const charactersOfLook = 16;

/** Thrown out of an expression that would be worked out for too long. */
export class TooMuchWork extends Error {
  override readonly name = "TooMuchWork";
}

let left = mostLooks;
let looks = 0;

/** A step begins: it may take as many looks as any other. */
export function beginStep(): void {
  left = mostLooks;
}

/** @throws TooMuchWork */
export function spend(cost: number): void {
  // What there is no room for is not done.
  looks += Math.min(cost, left);
  left = Math.max(0, left - cost);
  if (left === 0) throw new TooMuchWork("its expressions look at too much");
}

/** What was spent since this was last asked, in characters. */
export function takeWork(): number {
  const characters = Math.ceil(looks * charactersOfLook);
  looks = 0;
  return characters;
}

/** @throws TooMuchWork where two values are compared for too long: of different kinds they are told apart at once */
export function spendOnComparing(one: unknown, other: unknown): void {
  const isLong = typeof one === "string" && typeof other === "string";
  if (isLong) return spend(Math.min(one.length, other.length) / 64);
  const areLists = Array.isArray(one) && Array.isArray(other) && one.length === other.length;
  if (!areLists && !(isObject(one) && isObject(other))) return;
  const waiting: unknown[] = [one];
  while (waiting.length > 0) {
    const item = waiting.pop();
    spend(typeof item === "string" ? 1 + item.length / 64 : 1);
    if (typeof item !== "object" || item === null) continue;
    for (const part of Object.values(item)) waiting.push(part);
  }
}

const isObject = (value: unknown): boolean => isJsonObject(value as Json);
