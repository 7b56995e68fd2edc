import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readRecord } from "../../actors/step/pending.ts";
import type { StepRecord } from "../../machines/contracts/domain/record.ts";
import { initialContext } from "../../machines/step/context.ts";
import { sampleInput } from "../kit/step-events.ts";
import { jsonValues } from "./json-objects.ts";

const record: StepRecord = {
  runId: "run_1",
  stepId: "stp_1",
  phase: "parked",
  fence: 1,
  job: null,
  snapshot: null,
  result: null,
  journal: [],
  stateHistory: [],
  wakeAt: null,
};
const sound = {
  version: 1,
  snapshot: {
    status: "active",
    value: { executing: "parking" },
    context: initialContext(sampleInput),
  },
};

/** A sound snapshot with one thing at some depth replaced by any JSON, or by nothing. */
const mutated = fc.tuple(fc.nat(), fc.option(jsonValues, { nil: undefined })).map(([at, wrong]) => {
  const copy = structuredClone(sound) as unknown;
  const places: [Record<string, unknown>, string][] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const key of Object.keys(value)) {
      places.push([value as Record<string, unknown>, key]);
      visit((value as Record<string, unknown>)[key]);
    }
  };
  visit(copy);
  const [holder, key] = places[at % places.length] ?? [{}, ""];
  if (wrong === undefined) delete holder[key];
  else holder[key] = wrong;
  return copy;
});

describe("a record that comes back from a store", () => {
  it("never throws, and says in one line what can't be read [record.corrupt]", () => {
    const parts = fc.record({
      snapshot: fc.oneof(jsonValues, mutated, fc.constant(sound)),
      result: fc.oneof(jsonValues, fc.constant(null)),
      journal: fc.array(fc.oneof(jsonValues, fc.constant({ event: "begun", effect: "a", at: 1 }))),
    });
    fc.assert(
      fc.property(parts, (given) => {
        const read = readRecord({ ...record, ...given });
        if (read.ok) {
          expect(read.journal).toEqual(given.journal);
          return;
        }
        expect(read.problem).toMatch(
          /^the stored (snapshot|result|journal) of the step can't be read: ./,
        );
        expect(read.problem.length).toBeLessThanOrEqual(500);
      }),
      { numRuns: 3_000 },
    );
  });

  it("is never taken for a fresh one: what was kept is used or refused", () => {
    fc.assert(
      fc.property(fc.oneof(jsonValues, mutated), (snapshot) => {
        fc.pre(snapshot !== null && snapshot !== undefined);
        const read = readRecord({ ...record, snapshot });
        if (read.ok) expect(read.left).not.toBeNull();
      }),
      { numRuns: 3_000 },
    );
  });
});
