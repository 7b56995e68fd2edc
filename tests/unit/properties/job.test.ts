import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Job,
  parseJob,
  toEnvelope,
  stepTypes,
} from "../../../machines/contracts/domain/job.ts";
import { jsonObjects } from "./json-objects.ts";

const id = fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 });
const nullable = fc.option(fc.string({ unit: "grapheme" }));
const jobs: fc.Arbitrary<Job> = fc.record({
  runId: id,
  stepId: id,
  stepType: fc.constantFrom(...stepTypes),
  input: jsonObjects,
  tenantId: nullable,
  projectId: nullable,
  agentId: nullable,
  traceId: nullable,
  spanId: nullable,
  createdAt: fc.option(fc.nat()),
});
const fieldName = fc.oneof(
  fc.constantFrom("data", "run_id", "step_id", "step_type", "input", "tenant_id", "context"),
  fc.string(),
);
const text = fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.constant("null"));

/** Envelopes that are nearly right: one key of the payload is something else. */
const nearly = fc
  .tuple(
    jobs,
    fc.constantFrom("run_id", "step_id", "step_type", "input", "context"),
    fc.option(fc.jsonValue()),
  )
  .map(([job, key, wrong]) => {
    const envelope = JSON.parse(toEnvelope(job)) as { payload: Record<string, unknown> };
    envelope.payload[key] = wrong;
    return { data: JSON.stringify(envelope) };
  });

describe("a stream entry, whatever it holds", () => {
  it("is the job it was written from: reading an envelope undoes writing it [job.round-trip]", () => {
    fc.assert(
      fc.property(jobs, (job) => {
        expect(parseJob({ data: toEnvelope(job) })).toEqual({ valid: true, job });
      }),
    );
  });

  it("is read in the legacy flat form too, to the same job", () => {
    fc.assert(
      fc.property(jobs, (job) => {
        const fields: Record<string, string> = {
          run_id: job.runId,
          step_id: job.stepId,
          step_type: job.stepType,
          input: JSON.stringify(job.input),
        };
        const scope = {
          tenant_id: job.tenantId,
          project_id: job.projectId,
          agent_id: job.agentId,
          trace_id: job.traceId,
          span_id: job.spanId,
        };
        for (const [key, value] of Object.entries(scope)) if (value !== null) fields[key] = value;
        expect(parseJob(fields)).toEqual({ valid: true, job: { ...job, createdAt: null } });
      }),
    );
  });

  it("never throws, and what can't be run names what is wrong [job.garbage]", () => {
    const garbage = fc.oneof(fc.dictionary(fieldName, text), nearly);
    fc.assert(
      fc.property(garbage, (fields) => {
        const parsed = parseJob(fields);
        if (parsed.valid) {
          expect(parsed.job.runId).not.toBe("");
          expect(stepTypes).toContain(parsed.job.stepType);
          return;
        }
        const { failure, runId, stepId } = parsed.invalid;
        expect(failure).toMatchObject({ kind: "invalid_job", retryable: false });
        expect(failure.message).toMatch(/data|payload|run_id|step_id|step_type|input|context/);
        expect(failure.message.length).toBeLessThan(2_000);
        for (const name of [runId, stepId]) {
          if (name !== null) expect(name.length).toBeLessThanOrEqual(255);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("that can't be run is still named wherever its ids can be read", () => {
    fc.assert(
      fc.property(jobs, fc.string(), (job, stepType) => {
        fc.pre(!(stepTypes as readonly string[]).includes(stepType));
        const envelope = toEnvelope({ ...job, stepType: stepType as never });
        const { runId, stepId } = job;
        expect(parseJob({ data: envelope })).toMatchObject({
          valid: false,
          invalid: { runId, stepId },
        });
      }),
    );
  });
});
