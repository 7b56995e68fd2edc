import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { actionDigest, coveringGrant, digestOf } from "../../actors/step/approvals.ts";
import { localVerdict, usersVerdict } from "../../actors/step/verdicts.ts";
import { Journal } from "../../actors/step/journal.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { JournalEntry } from "../../machines/contracts/domain/record.ts";
import { maxHeldMs, retryable } from "../../machines/contracts/domain/failure.ts";
import { stricter, type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import { initialContext } from "../../machines/step/context.ts";
import { retryDelay, rules } from "../../machines/step/rules.ts";
import { updates } from "../../machines/step/updates.ts";
import { sampleJob } from "../kit/step-events.ts";
import { jsonObjects, jsonValues } from "./json-objects.ts";

const verdicts: fc.Arbitrary<Verdict> = fc.record({
  kind: fc.constantFrom("allow", "ask", "deny"),
  reason: fc.string(),
});
const names = ["read", "write", "erase", "git/read", "read/git", "git.read"];
const tools = fc.record({
  server: fc.constantFrom(null, "git", "git/read", "read"),
  name: fc.constantFrom(...names),
  input: fc.option(jsonObjects),
});
const lists = fc.subarray([...names, "git/write", "git/git/read", "read/read", "git/read/read"]);
const allowlists = fc.record({ allowed: lists, approvalRequired: lists, denied: lists });

describe("a delay before the next try", () => {
  const limits = fc
    .tuple(fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: 100_000 }))
    .map(([baseDelayMs, more]) => ({ baseDelayMs, maxDelayMs: baseDelayMs + more }));
  const attempts = fc.integer({ min: 1, max: 10_000 });
  const jitter = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

  it("is never shorter than asked for, and never longer than the longest unless asked [retry.bounds]", () => {
    const asked = fc.option(fc.nat({ max: 1_000_000 }));
    fc.assert(
      fc.property(limits, attempts, jitter, asked, (limit, attempt, drawn, retryAfterMs) => {
        const failure = retryable("unavailable", "away", retryAfterMs ?? undefined);
        const delay = retryDelay(failure, attempt, drawn, limit);
        expect(delay).toBeGreaterThanOrEqual(retryAfterMs ?? 0);
        expect(delay).toBeLessThanOrEqual(Math.max(limit.maxDelayMs, retryAfterMs ?? 0));
        expect(Number.isSafeInteger(delay)).toBe(true);
      }),
    );
  });

  it("is spread over the whole of its range, which doubles with each attempt", () => {
    fc.assert(
      fc.property(limits, attempts, (limit, attempt) => {
        const failure = retryable("unavailable", "away");
        const at = (drawn: number, tries = attempt) => retryDelay(failure, tries, drawn, limit);
        const full = Math.min(limit.maxDelayMs, limit.baseDelayMs * 2 ** Math.min(attempt - 1, 30));
        expect(at(0)).toBe(0);
        expect(at(0.5)).toBe(Math.round(full / 2));
        expect(at(1 - Number.EPSILON)).toBe(full);
        expect(at(0.5, attempt + 1)).toBeGreaterThanOrEqual(at(0.5));
      }),
    );
  });
});

describe("a neighbour that could not be asked", () => {
  const limits = {
    maxAttempts: 3,
    maxRepairs: 1,
    baseDelayMs: 1_000,
    maxDelayMs: 30_000,
    parkAfterMs: 60_000,
  };
  const begun = initialContext({ runId: "r", stepId: "s", job: null, problem: null, limits });
  const event = fc.record({
    isUntried: fc.boolean(),
    hasProgressed: fc.boolean(),
    afterMs: fc.integer({ min: 0, max: maxHeldMs / 3 }),
    jitter: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    retryAfterMs: fc.option(fc.nat({ max: 100_000 }), { nil: undefined }),
  });

  it("costs no attempt, is waited for outside of the worker, never in a spin, and for an hour at most [retry.untried]", () => {
    fc.assert(
      fc.property(fc.array(event, { minLength: 1, maxLength: 30 }), (given) => {
        let context = begun;
        let now = 1_000_000;
        let tried = 0;
        let since: number | null = null;
        for (const { isUntried, hasProgressed, afterMs, jitter, retryAfterMs } of given) {
          now += afterMs;
          const failure = {
            ...retryable("unavailable", "not asked", retryAfterMs),
            ...(isUntried ? { untried: true as const } : {}),
          };
          const failed = {
            type: "activity.failed" as const,
            failure,
            costly: false,
            at: now,
            jitter,
            ...(hasProgressed ? { hasProgressed } : {}),
          };
          if (hasProgressed) tried = 0;
          if (!isUntried) tried += 1;
          since = isUntried ? (hasProgressed ? now : (since ?? now)) : null;
          const mayGoOn = since === null ? tried < limits.maxAttempts : now - since < maxHeldMs;
          expect(rules.mayRetry({ context, event: failed })).toBe(mayGoOn);
          if (!mayGoOn) return;
          const isParked = rules.mayRetryLater({ context, event: failed });
          context = { ...context, ...updates.countAttempt({ context, event: failed }) };
          expect(context.attempts).toBe(tried);
          const delay = (context.retryAt ?? 0) - now;
          expect(isParked).toBe(isUntried || delay > limits.parkAfterMs);
          expect(delay).toBeGreaterThanOrEqual(Math.max(isUntried ? 1_000 : 0, retryAfterMs ?? 0));
          const most = 1.25 * Math.max(limits.maxDelayMs, retryAfterMs ?? 0);
          expect(delay).toBeLessThanOrEqual(Math.ceil(most));
        }
      }),
    );
  });
});

describe("a tool's own step while a server can't be asked", () => {
  it("waits anew for an hour after people were asked, and not after a look that went well [retry.untried]", () => {
    const limits = { maxAttempts: 3, maxRepairs: 1, baseDelayMs: 1, maxDelayMs: 1, parkAfterMs: 1 };
    const begun = initialContext({ runId: "r", stepId: "s", job: null, problem: null, limits });
    const context = { ...begun, heldSince: 5 };
    const said = verdict.ask("a person");
    const asked = { type: "policy.asked" as const, verdict: said, asks: [] };
    expect({ ...context, ...updates.checked({ context, event: asked }) }.heldSince).toBeNull();
    // A neighbour of the step's work is waited for by parking, and each wake passes policy.
    const allowed = { type: "policy.allowed" as const, verdict: said };
    expect({ ...context, ...updates.checked({ context, event: allowed }) }.heldSince).toBe(5);
  });
});

describe("verdicts", () => {
  const kind = (said: Verdict) => said.kind;

  it("stricter is a lattice's join: idempotent, commutative, associative, and never loosens [policy.stricter]", () => {
    fc.assert(
      fc.property(verdicts, verdicts, verdicts, (one, two, three) => {
        expect(stricter(one, one)).toEqual(one);
        expect(kind(stricter(one, two))).toBe(kind(stricter(two, one)));
        const left = stricter(stricter(one, two), three);
        expect(left).toEqual(stricter(one, stricter(two, three)));
        const order = ["allow", "ask", "deny"];
        expect(order.indexOf(kind(stricter(one, two)))).toBe(
          Math.max(order.indexOf(kind(one)), order.indexOf(kind(two))),
        );
        // Of two alike, the second has the last word.
        const alike = { ...two, kind: one.kind };
        expect(stricter(one, alike)).toBe(alike);
        expect(stricter(one, two)).toBe(
          order.indexOf(one.kind) > order.indexOf(two.kind) ? one : two,
        );
      }),
    );
  });

  it("a tool is denied unless some list names it, and a denial beats every other list [policy.deny-default]", () => {
    const agents = fc.option(lists);
    fc.assert(
      fc.property(tools, allowlists, agents, (tool, allowlist, agentTools) => {
        const said = localVerdict(tool, allowlist, agentTools);
        const { server, name } = tool;
        const isOn = (list: string[]) =>
          list.some(
            (entry) => entry === name || (server !== null && entry === `${server}/${name}`),
          );
        // A bare name with a slash in it is taken for a tool of another server, and lets none of this one's through.
        const letsThrough = (list: string[]) =>
          list.some((entry) =>
            entry === name
              ? server === null || !name.includes("/")
              : server !== null && entry === `${server}/${name}`,
          );
        if (isOn(allowlist.denied)) expect(said.kind).toBe("deny");
        if (said.kind === "allow") expect(letsThrough(allowlist.allowed)).toBe(true);
        if (said.kind === "ask") expect(isOn(allowlist.approvalRequired)).toBe(true);
        expect(
          localVerdict(tool, { allowed: [], approvalRequired: [], denied: [] }, null).kind,
        ).toBe("deny");
        // The agent's own list narrows: what it does not name is denied, and nothing is loosened.
        const without = localVerdict(tool, allowlist, null);
        const narrows = agentTools !== null && !letsThrough(agentTools);
        expect(said.kind).toBe(narrows ? "deny" : without.kind);
      }),
    );
  });
});

describe("a user's policy function", () => {
  const action = { kind: "tool", name: "write", input: {} } as const;
  const saying = (said: unknown) => () => said as Verdict;

  it("denies, and is named, when it answers anything but a verdict [policy.closed]", () => {
    const almost = fc.record(
      {
        kind: fc.oneof(fc.constantFrom("allow", "denied", "ALLOW"), fc.string()),
        reason: jsonValues,
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.oneof(fc.anything(), almost), (said) => {
        const is = said as Partial<Verdict> | null;
        const isKind = ["allow", "ask", "deny"].includes(String(is?.kind));
        fc.pre(!(isKind && typeof is?.kind === "string" && typeof is.reason === "string"));
        const policy = saying(said);
        const read = usersVerdict(policy, action, sampleJob);
        expect(read?.kind).toBe("deny");
        expect(read?.reason).toContain("the policy function");
      }),
    );
  });

  it("denies when it throws or returns a promise, and no rejection is left behind [policy.closed]", () => {
    function budgetPolicy(): Verdict {
      throw new Error("no table of budgets");
    }
    expect(usersVerdict(budgetPolicy, action, sampleJob)).toEqual({
      kind: "deny",
      reason: expect.stringMatching(
        /^the policy function "budgetPolicy" threw at .+rules\.test\.ts:\d+: no table of budgets$/,
      ),
    });
    const late = async () => ({ kind: "allow", reason: "in a while" });
    const broken = async () => Promise.reject(new Error("later"));
    for (const policy of [late, broken]) {
      expect(usersVerdict(policy as never, action, sampleJob)?.reason).toContain("promise");
    }
  });

  it("passes a verdict on as it is, and never widens what the lists say [policy.stricter]", () => {
    fc.assert(
      fc.property(verdicts, tools, allowlists, (said, tool, allowlist) => {
        const users = usersVerdict(saying(said), action, sampleJob);
        expect(users).toEqual(said);
        const worker = localVerdict(tool, allowlist, null);
        const order = ["allow", "ask", "deny"];
        const both = stricter(worker, users ?? worker).kind;
        expect(order.indexOf(both)).toBeGreaterThanOrEqual(order.indexOf(worker.kind));
      }),
    );
  });
});

describe("a digest", () => {
  const shuffled = (value: Json): Json => {
    if (Array.isArray(value)) return value.map(shuffled);
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).toReversed();
    return Object.fromEntries(entries.map(([key, inner]) => [key, shuffled(inner)]));
  };

  it("does not depend on the order of keys, nor on being written and read [approval.exact]", () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        expect(digestOf(shuffled(value))).toBe(digestOf(value));
        expect(digestOf(JSON.parse(JSON.stringify(value)))).toBe(digestOf(value));
      }),
    );
  });

  it("differs where the values differ", () => {
    fc.assert(
      fc.property(jsonValues, jsonValues, (one, other) => {
        const isSame = JSON.stringify(shuffled(one)) === JSON.stringify(shuffled(other));
        fc.pre(!isSame);
        if (JSON.stringify(sorted(one)) !== JSON.stringify(sorted(other))) {
          expect(digestOf(one)).not.toBe(digestOf(other));
        }
      }),
    );
  });

  it("a grant for one action permits no other, and none in another step [approval.exact]", () => {
    fc.assert(
      fc.property(jsonObjects, jsonObjects, fc.string(), (shown, done, stepId) => {
        const key = { runId: "run_1", stepId: "stp_1" };
        const action = { kind: "tool", name: "other", input: shown } as const;
        const grant = {
          digest: actionDigest(key, action),
          approvalId: "apr_1",
          resolvedBy: null,
        };
        const context = { ...key, grants: [grant] };
        expect(coveringGrant(context, action)).toBe(grant);
        const isSame = digestOf(shown) === digestOf(done);
        expect(coveringGrant(context, { ...action, input: done })).toBe(isSame ? grant : null);
        for (const other of [{ server: "prod" }, { schema: "another" }, { name: "others" }]) {
          expect(coveringGrant(context, { ...action, ...other })).toBe(null);
        }
        if (stepId !== key.stepId) {
          expect(coveringGrant({ ...context, stepId }, action)).toBe(null);
        }
      }),
    );
  });
});

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).toSorted(([one], [two]) => (one < two ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}

describe("a journal", () => {
  const effect = fc.constantFrom("a#1", "b#1", "c#1");
  const entries: fc.Arbitrary<JournalEntry[]> = fc.array(
    fc.oneof(
      fc.record({ event: fc.constant("begun" as const), effect, at: fc.nat() }),
      fc.record({
        event: fc.constant("begun" as const),
        effect,
        at: fc.nat(),
        grant: fc.constantFrom("g1", "g2"),
      }),
      fc.record({
        event: fc.constant("completed" as const),
        effect,
        at: fc.nat(),
        result: jsonValues,
      }),
    ),
  );

  it("is a fold: read at once or line by line, before or after a restart, it says the same [journal.fold]", () => {
    fc.assert(
      fc.property(entries, fc.nat(), (lines, cut) => {
        const whole = new Journal(lines);
        const first = lines.slice(0, cut % (lines.length + 1));
        const split = new Journal(JSON.parse(JSON.stringify(first)) as JournalEntry[]);
        for (const line of lines.slice(first.length)) split.add(line);
        for (const name of ["a#1", "b#1", "c#1", "never#1"]) {
          expect(split.isCompleted(name)).toBe(whole.isCompleted(name));
          expect(split.isInDoubt(name)).toBe(whole.isInDoubt(name));
          expect(split.result(name)).toEqual(whole.result(name));
          expect(whole.isCompleted(name) && whole.isInDoubt(name)).toBe(false);
        }
        for (const grant of ["g1", "g2"]) expect(split.spentBy(grant)).toBe(whole.spentBy(grant));
      }),
    );
  });

  it("an effect is in doubt exactly when it was begun and has not been completed since", () => {
    fc.assert(
      fc.property(entries, (lines) => {
        const journal = new Journal(lines);
        for (const name of ["a#1", "b#1", "c#1"]) {
          const last = (event: string) =>
            lines.findLastIndex(
              (line) => line.event === event && "effect" in line && line.effect === name,
            );
          expect(journal.isInDoubt(name)).toBe(last("begun") > last("completed"));
          const spent = lines.filter((line) => line.event === "begun" && line.grant === "g1");
          expect(journal.spentBy("g1") === undefined).toBe(spent.length === 0);
        }
      }),
    );
  });
});
