import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { deniedBy } from "../../machines/contracts/domain/action.ts";
import { readCheckToolAnswer } from "../../machines/contracts/wire/check-tool.ts";
import { type Failure, failureKinds } from "../../machines/contracts/domain/failure.ts";
import {
  readApprovalStatus,
  readRunStatus,
  readStepStatus,
  runStatuses,
  approvalStatuses,
  stepStatuses,
} from "../../machines/contracts/domain/status.ts";
import { type StepResult, toResultBody } from "../../machines/contracts/domain/step-result.ts";
import { jsonValues } from "./json-objects.ts";

const families = [
  { name: "run", known: runStatuses, read: readRunStatus },
  { name: "step", known: stepStatuses, read: readStepStatus },
  { name: "approval", known: approvalStatuses, read: readApprovalStatus },
] as const;

describe.each(families)("a $name status", ({ known, read }) => {
  it("is read in either spelling and any case [status.spelling]", () => {
    fc.assert(
      fc.property(fc.constantFrom(...known), fc.boolean(), fc.boolean(), (status, bare, upper) => {
        const spelled = bare ? status.replaceAll("_", "") : status;
        expect(read(upper ? spelled.toUpperCase() : spelled)).toBe(status);
      }),
    );
  });

  it("is never guessed from another text", () => {
    const bare = known.map((status) => status.replaceAll("_", ""));
    fc.assert(
      fc.property(fc.string(), (text) => {
        fc.pre(!bare.includes(text.toLowerCase().replaceAll("_", "")));
        expect(read(text)).toBeUndefined();
      }),
    );
  });
});

/** Answers of roughly the contract's shape, any part of which may be missing or wrong. */
const answers = fc.oneof(
  jsonValues,
  fc.record(
    {
      allowed: fc.oneof(fc.boolean(), jsonValues),
      requires_approval: fc.oneof(fc.boolean(), jsonValues),
      blocked_by_airlock: fc.oneof(fc.boolean(), jsonValues),
      reason: fc.oneof(fc.string(), jsonValues),
      violation_type: fc.oneof(fc.string(), jsonValues),
      decision_id: fc.oneof(fc.string(), jsonValues),
    },
    { requiredKeys: [] },
  ),
);

describe("an answer of policy", () => {
  it("allows only when it says so plainly: every doubt denies or is refused [policy.closed]", () => {
    fc.assert(
      fc.property(answers, (answer) => {
        const read = readCheckToolAnswer(answer);
        if (typeof read === "string") {
          expect(read).toContain("gave an unexpected answer");
          return;
        }
        const said = answer as Record<string, unknown>;
        const { allowed, requires_approval: asks, blocked_by_airlock: blocked } = said;
        expect(read.reason).not.toBe("");
        if (read.kind === "allow")
          expect([allowed, asks, blocked]).toEqual([true, no(asks), no(blocked)]);
        if (read.kind === "ask") expect([asks, blocked]).toEqual([true, no(blocked)]);
        if (blocked === true || (allowed === false && asks !== true))
          expect(read.kind).toBe("deny");
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what FerrumDeck says beside its verdict", () => {
  const violation = {
    risk_score: 95,
    risk_level: "critical",
    violation_type: "rcepattern",
    violation_details: "odd characters",
  };

  it("reaches the report of a call that its Airlock blocked, in the keys that its dashboard reads [report.body]", () => {
    const read = readCheckToolAnswer({ allowed: false, blocked_by_airlock: true, ...violation });
    if (typeof read === "string") throw new Error(read);
    const failure = deniedBy(read);
    const body = toResultBody({ status: "failed", failure, output: null, usage: null });
    expect(body.output).toEqual({
      error: "rcepattern: odd characters",
      policy_denied: true,
      airlock_blocked: true,
      airlock_violation: violation,
    });
    const plain = deniedBy({ kind: "deny", reason: "not on a list" });
    const other = toResultBody({ status: "failed", failure: plain, output: null, usage: null });
    expect(other.output).toEqual({ error: "not on a list", policy_denied: true });
  });

  it("is kept for log and span, and a violation without details has no `undefined` in its reason", () => {
    const later = {
      response_level: "L2",
      reversibility: "irreversible",
      decision_trace: { matched: ["r1"], winning_kind: "deny" },
    };
    expect(
      readCheckToolAnswer({ allowed: true, reason: "listed", risk_score: 0, ...later }),
    ).toEqual({ kind: "allow", reason: "listed", details: later });
    const bare = readCheckToolAnswer({ allowed: false, violation_type: "odd_hours" });
    expect(bare).toMatchObject({ kind: "deny", reason: "odd_hours" });
  });
});

/** A flag that is not set: absent or false, and nothing in between. */
const no = (flag: unknown) => (flag === undefined ? undefined : false);

const failures: fc.Arbitrary<Failure> = fc.record({
  kind: fc.constantFrom(...failureKinds),
  message: fc.string(),
  retryable: fc.boolean(),
});
const usages = fc.option(fc.record({ inputTokens: fc.nat(), outputTokens: fc.nat() }));
const results: fc.Arbitrary<StepResult> = fc.oneof(
  fc.record({ status: fc.constant("completed" as const), output: jsonValues, usage: usages }),
  fc.record({
    status: fc.constant("failed" as const),
    failure: failures,
    output: jsonValues,
    usage: usages,
  }),
);

describe("a result's body", () => {
  it("says how the step ended, carries its tokens, and is JSON [report.body]", () => {
    fc.assert(
      fc.property(results, (result) => {
        const body = toResultBody(result);
        expect(body.status).toBe(result.status);
        expect(JSON.parse(JSON.stringify(body))).toEqual(body);
        expect(body.input_tokens).toBe(result.usage?.inputTokens);
        expect("error" in body).toBe(result.status === "failed");
        if (result.status === "completed") expect(body.output).toEqual(result.output);
        else expect(body.error).toMatchObject({ kind: result.failure.kind });
      }),
    );
  });
});
