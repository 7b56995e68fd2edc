import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Job,
  isId,
  maxJobDepth,
  parseJob,
  toEnvelope,
  stepTypes,
} from "../../machines/contracts/domain/job.ts";
import { jsonObjects } from "./json-objects.ts";

const visible = fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code));
const id = fc
  .string({ unit: visible, minLength: 1, maxLength: 255 })
  .filter((text) => text !== "." && text !== "..");
/** What a header, a path, a store's key or a folder refuses: one such character anywhere, or the wrong length. */
const noId = fc.oneof(
  fc.constantFrom("", ".", "..", "x".repeat(256)),
  fc
    .tuple(
      fc.string({ unit: visible, maxLength: 20 }),
      fc.integer({ min: 0, max: 0xffff }).filter((code) => code < 0x21 || code > 0x7e),
      fc.string({ unit: visible, maxLength: 20 }),
    )
    .map(([before, code, after]) => before + String.fromCharCode(code) + after),
  fc.string({ unit: "binary", minLength: 1 }).filter((text) => /[^\x21-\x7e]/.test(text)),
);
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
        fc.pre(stepType !== "human" && !(stepTypes as readonly string[]).includes(stepType));
        const envelope = toEnvelope({ ...job, stepType: stepType as never });
        const { runId, stepId } = job;
        expect(parseJob({ data: envelope })).toMatchObject({
          valid: false,
          invalid: { runId, stepId },
        });
      }),
    );
  });

  it("with an id that no header or path takes is not named by it [job.ids]", () => {
    fc.assert(
      fc.property(jobs, noId, fc.constantFrom("runId", "stepId"), (job, wrong, which) => {
        expect(isId(wrong)).toBe(false);
        const parsed = parseJob({ data: toEnvelope({ ...job, [which]: wrong }) });
        expect(parsed).toMatchObject({ valid: false, invalid: { [which]: null } });
        const flat = { run_id: job.runId, step_id: job.stepId, step_type: job.stepType };
        const key = which === "runId" ? "run_id" : "step_id";
        expect(parseJob({ ...flat, [key]: wrong })).toMatchObject({ invalid: { [which]: null } });
      }),
      { numRuns: 1_000 },
    );
  });

  it("is refused by its input's depth alone, however deep, and still named [job.depth]", () => {
    fc.assert(
      fc.property(jobs, fc.integer({ min: 1, max: 20_000 }), fc.boolean(), (job, depth, arrays) => {
        const [open, close] = arrays ? ["[", "]"] : ['{"a":', "}"];
        const inner = arrays ? "" : "1";
        // The input itself is the first level.
        const input = `{"in":${open.repeat(depth - 1)}${depth === 1 ? "1" : inner}${close.repeat(depth - 1)}}`;
        const { runId, stepId, stepType } = job;
        const fields = { run_id: runId, step_id: stepId, step_type: stepType, input };
        const parsed = parseJob(fields);
        expect(parsed.valid).toBe(depth <= maxJobDepth);
        if (!parsed.valid) expect(parsed.invalid).toMatchObject({ runId, stepId });
        const payload = `{"run_id":${JSON.stringify(runId)},"step_id":${JSON.stringify(stepId)},"step_type":"${stepType}","input":${input}}`;
        expect(parseJob({ data: `{"payload":${payload}}` }).valid).toBe(depth <= maxJobDepth);
      }),
    );
  });

  it("never throws, however deep and odd it is at once, and is still named [job.garbage]", () => {
    const odd = fc.constantFrom(
      '"n":9007199254740993,',
      '"n":1e999,',
      '"s":"\\u0000\\ud800",',
      '"__proto__":{},',
      "",
    );
    const depths = fc.oneof(fc.integer({ min: 1, max: 5_000 }), fc.constantFrom(60_000));
    const places = fc.constantFrom("input", "context", "extra");
    fc.assert(
      fc.property(odd, odd, depths, fc.boolean(), places, (before, after, depth, arrays, place) => {
        const [open, close] = arrays ? ["[", "]"] : ['{"a":', "}"];
        const deep = `${open.repeat(depth)}${arrays ? "" : "1"}${close.repeat(depth)}`;
        const hard = `{${before}"deep":${deep},${after}"z":1}`;
        const payload = `{"run_id":"r","step_id":"s","step_type":"llm","${place}":${hard}}`;
        for (const fields of [
          { data: `{"payload":${payload}}` },
          { run_id: "r", step_id: "s", step_type: "llm", input: hard },
        ]) {
          const parsed = parseJob(fields);
          if (!parsed.valid)
            expect(parsed.invalid).toMatchObject({
              runId: "r",
              stepId: "s",
              failure: { kind: "invalid_job" },
            });
          if (depth > maxJobDepth && place === "input") expect(parsed.valid).toBe(false);
        }
      }),
      { numRuns: 300 },
    );
  });

  it("is refused for a number that a double can't hold, and still named [number.exact]", () => {
    const lost = fc
      .bigInt({ min: 2n ** 53n, max: 2n ** 70n })
      .filter((big) => BigInt(Number(big)) !== big);
    fc.assert(
      fc.property(jobs, lost, (job, number) => {
        const envelope = toEnvelope({ ...job, input: { ...job.input, id: "ID" } });
        const parsed = parseJob({ data: envelope.replace('"id":"ID"', `"id":${number}`) });
        const { runId, stepId } = job;
        expect(parsed).toMatchObject({ valid: false, invalid: { runId, stepId } });
        if (!parsed.valid) expect(parsed.invalid.failure.message).toContain(`input.id`);
      }),
    );
  });

  it("of FerrumDeck's type `human` is an approval step [job.human]", () => {
    fc.assert(
      fc.property(jobs, (job) => {
        const envelope = toEnvelope({ ...job, stepType: "human" as never });
        const read = parseJob({ data: envelope });
        expect(read).toEqual({ valid: true, job: { ...job, stepType: "approval" } });
      }),
    );
  });
});
