import * as fc from "fast-check";
import { expect, it } from "vitest";
import { readRecordText, recordId } from "../../machines/contracts/wire/record-text.ts";

const id = fc.string({
  minLength: 1,
  maxLength: 8,
  unit: fc.constantFrom("a", "/", "%", "2", "F"),
});

it("gives two steps one name only when they are the same step", () => {
  fc.assert(
    fc.property(id, id, id, id, (runId, stepId, otherRun, otherStep) => {
      const same = runId === otherRun && stepId === otherStep;
      const [one, other] = [
        { runId, stepId },
        { runId: otherRun, stepId: otherStep },
      ].map(recordId);
      expect(one === other).toBe(same);
    }),
  );
});

it("leaves the ids that control planes make as they are", () => {
  expect(recordId({ runId: "run_01J", stepId: "stp_01J" })).toBe("run_01J/stp_01J");
});

it("reads any text without throwing, and what is not JSON as that text", () => {
  const text = fc.option(fc.oneof(fc.string(), fc.json()), { nil: "" });
  fc.assert(
    fc.property(text, text, text, text, text, fc.array(fc.string()), (...texts) => {
      const [phase, fence, job, snapshot, path, journal] = texts;
      const kept = { phase, fence, job, snapshot, path };
      const record = readRecordText({ runId: "r", stepId: "s" }, kept, journal);
      expect(Number.isFinite(record.fence)).toBe(true);
      expect(["open", "parked", "recorded", "reported"]).toContain(record.phase);
      expect(record.stateHistory.every((state) => typeof state === "string")).toBe(true);
      expect(record.journal).toHaveLength(journal.length);
    }),
  );
  expect(readRecordText({ runId: "r", stepId: "s" }, { snapshot: "{oops" }, []).snapshot).toBe(
    "{oops",
  );
});
