import * as fc from "fast-check";

const verdicts = ["allow", "ask", "deny", "away"] as const;
const decisions = [
  "grant",
  "grant twice",
  "grant before it is parked",
  "grant of something else",
  "reject",
  "expire",
] as const;
const faults = [
  "dies before",
  "dies after",
  "fails",
  "loses the answer",
  "is overtaken",
  "run is cancelled",
  "worker drains",
  "job comes twice",
  // What nobody tells the step: it is seen only by looking again.
  "run ends unseen",
  "tools are denied from the next session on",
  "tools change their schemas",
] as const;

export type PolicyAnswer = (typeof verdicts)[number];
export type Decision = (typeof decisions)[number];
export type Fault = (typeof faults)[number];

/**
 * All that befalls one step and is not its own doing. Each list is used up in turn; after its end policy
 * allows, people grant, and nothing goes wrong any more.
 */
export interface History {
  /** What policy answers, at each time it is asked. */
  verdicts: PolicyAnswer[];
  /** What people decide, question by question. */
  decisions: Decision[];
  /** Faults, each so many moments (port calls and touches of the world) after the one before. */
  faults: { after: number; what: Fault }[];
}

/** Every kind of history, short ones first; shrinks towards the one in which nothing happens. */
export const histories: fc.Arbitrary<History> = fc.record({
  verdicts: fc.array(fc.constantFrom(...verdicts), { maxLength: 4 }),
  decisions: fc.array(fc.constantFrom(...decisions), { maxLength: 4 }),
  faults: fc.array(fc.record({ after: fc.nat({ max: 14 }), what: fc.constantFrom(...faults) }), {
    maxLength: 5,
  }),
});

/** The history in which all goes well. */
export const calmHistory: History = { verdicts: [], decisions: [], faults: [] };
