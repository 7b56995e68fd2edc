import { pathToFileURL } from "node:url";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { HandlerResult, StepScope, UsersHandler } from "../../actors/handlers/handler.ts";
import { withUsersHandlers } from "../../actors/handlers/users-handlers.ts";
import { usersVerdict } from "../../actors/step/verdicts.ts";
import { createFunctionHost } from "../../adapters/functions/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { definePolicy, verdict } from "../../cli/library.ts";
import type { Action } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { thrownBy, toJson } from "../../machines/contracts/domain/users-code.ts";
import { sampleJob } from "../kit/step-events.ts";
import { noNeighbours } from "../kit/live-once.ts";

/** Whatever a function may return, JSON or not. */
const anything = fc.anything({
  withBigInt: true,
  withDate: true,
  withMap: true,
  withSet: true,
  withSparseArray: true,
  withNullPrototype: true,
  withTypedArray: true,
  withBoxedValues: true,
});
const silent = { debug() {}, info() {}, warn() {}, error() {} };
const action = { kind: "tool", name: "charge_card", input: {} } as const;
const circle: Record<string, unknown> = {};
circle["self"] = circle;
const rejecting = Promise.reject(new Error("away"));
rejecting.catch(() => {});
const treacherous = new Proxy(
  {},
  {
    get: () => {
      throw new Error("no");
    },
    ownKeys: () => {
      throw new Error("no");
    },
  },
);

describe("a value of a user's code as JSON", () => {
  it("is read as JSON.stringify reads it, or refused with a reason, and never throws", () => {
    fc.assert(
      fc.property(anything, (value) => {
        const made = toJson(value);
        if (!made.ok) return made.problem !== "";
        expect(made.value).toEqual(JSON.parse(JSON.stringify(value)));
        return true;
      }),
      { numRuns: 2_000 },
    );
  });

  it("is the same for what is JSON", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const wellFormed = JSON.parse(JSON.stringify(value).toWellFormed()) as unknown;
        fc.pre(!/\\u(?:0000|d[89a-f])/iu.test(JSON.stringify(value)));
        expect(toJson(value)).toEqual({ ok: true, value: wellFormed });
      }),
    );
  });

  it("is refused, in time, where one object stands in too many places to write out", () => {
    let wide: unknown = 1;
    for (let level = 0; level < 60; level += 1) wide = [wide, wide];
    expect(toJson(wide)).toEqual({ ok: false, problem: expect.stringContaining("more than") });
  });
});

describe("what a user's function threw", () => {
  const said = (stack: string, folder = "/work") => {
    const error = Object.assign(new Error("no\n    at /of/the/message.ts:1:1"), {});
    error.stack = `Error: ${error.message}\n${stack}`;
    return thrownBy("it", error, folder);
  };

  it("is found in a file of any name, in every shape of a stack's line [library.users-code]", () => {
    const names = fc.string({ unit: "binary" }).filter((name) => !/[/\n\r\0]|^\.*$/u.test(name));
    const callers = fc.constantFrom("", "async ", "run (", "async Object.a [as b] (", "new A (");
    fc.assert(
      fc.property(
        fc.array(names, { minLength: 1, maxLength: 3 }),
        callers,
        fc.boolean(),
        (parts, by, isUrl) => {
          const path = `/work/${parts.join("/")}.ts`;
          fc.pre(path.isWellFormed() && !/\s\s|^\s|[\p{Cc}\u2028\u2029]/u.test(path));
          const place = isUrl ? pathToFileURL(path).href : path;
          const line = `    at ${by}${place}:7:9${by.endsWith("(") ? ")" : ""}`;
          const inside = "    at node:internal/x:1:1\n    at a (/work/node_modules/b/c.ts:1:1)";
          expect(said(`${inside}\n${line}`)).toContain(cutText(`threw at ${path.slice(6)}:7`, 400));
        },
      ),
    );
  });

  it("is told without a place where its stack has none, whatever it is [library.users-code]", () => {
    const odd = Object.defineProperty(new Error("odd"), "stack", {
      get: () => {
        throw new Error("no");
      },
    });
    expect(thrownBy("it", odd, "/")).toBe("it threw: odd");
    expect(said("    at eval (eval at f (/work/a.ts:1:1), <anonymous>:1:1)")).not.toContain(
      " at eval",
    );
    expect(said("    at /work/100%/a b.ts:3:1")).toContain("threw at 100%/a b.ts:3: ");
  });
});

describe("a policy function", () => {
  const malformed: Record<string, unknown> = {
    "a kind that there is not": { kind: "denied" },
    "a kind without a reason": { kind: "allow" },
    "a reason that is no text": { kind: "allow", reason: 5 },
    "a kind in capitals": { kind: "ALLOW", reason: "" },
    "a list": [{ kind: "allow", reason: "" }],
    "a word": "allow",
    yes: true,
    nothing: undefined,
    null: null,
    "a number": 1,
    "a function": () => verdict.allow(""),
    "a promise": Promise.resolve(verdict.allow("later")),
    "a promise that rejects": rejecting,
    "a map": new Map([["kind", "allow"]]),
    "an empty object": {},
    "a boxed text": { kind: Object("allow"), reason: "x", failsStep: 1 },
    "a BigInt beside it": { kind: "allow", reason: "", details: { cents: 5n } },
    "a cycle beside it": { kind: "allow", reason: "", details: circle },
    "an error": new Error("no"),
    "what can't be read": treacherous,
    "a decision's id that is none": { kind: "allow", reason: "", decisionId: 7 },
    "a symbol": Symbol("allow"),
    "a boxed reason": { kind: "allow", reason: Object("") },
    "a verdict only as JSON": { toJSON: () => verdict.allow("") },
  };

  it.each(Object.entries(malformed))(
    "that answers %s denies, and the reason names it [library.users-code]",
    (_what, said) => {
      const guardTheBank = definePolicy(() => said as never);
      const inConfig = { policy: () => said as never }.policy;
      const read = usersVerdict(guardTheBank, action, sampleJob);
      expect(read?.kind).toBe("deny");
      expect(read?.reason).toMatch(/^the policy function of this worker /u);
      expect(usersVerdict(inConfig, action, sampleJob)?.reason).toMatch(
        /^the policy function "policy" /u,
      );
    },
  );

  it("changes nothing of the call that it judges [library.users-code]", () => {
    const judged = { ...action, input: { amount: 1 } };
    const job = structuredClone(sampleJob);
    const meddle = (seen: Action, of: Job) => {
      seen.input["amount"] = 999_999;
      seen.name = "other";
      of.runId = "other";
      return { kind: "allow", reason: "fine" };
    };
    expect(usersVerdict(meddle as never, judged, job)?.kind).toBe("allow");
    expect(judged).toEqual({ ...action, input: { amount: 1 } });
    expect(job).toEqual(sampleJob);
  });

  it("that throws denies, and the reason has its place [library.users-code]", () => {
    const policy = () => {
      throw new TypeError("limits is not defined");
    };
    expect(usersVerdict(policy, action, sampleJob)).toEqual(
      verdict.deny(
        expect.stringMatching(
          /^the policy function "policy" threw at tests\/library\/users-code\.test\.ts:\d+: limits is not defined$/u,
        ) as string,
      ),
    );
  });

  it("never allows what is not plainly a verdict [library.users-code]", () => {
    const words = fc.constantFrom("allow", "ask", "deny", "denied", "", "Allow");
    const near = fc.record({
      kind: fc.oneof(words, anything),
      reason: fc.oneof(fc.string(), anything),
    });
    fc.assert(
      fc.property(fc.oneof(anything, near), (said) => {
        const read = usersVerdict(() => said as never, action, sampleJob);
        const isVerdict =
          isJsonObject(said) &&
          ["allow", "ask", "deny"].includes(said["kind"] as string) &&
          typeof said["reason"] === "string";
        return isVerdict ? true : read?.kind === "deny";
      }),
    );
  });
});

/** One call of a user's handler, with a scope whose effects run at once. */
async function handle(
  users: Record<string, UsersHandler>,
  { toolName = "charge_card", stepType = "tool" as "tool" | "llm" } = {},
): Promise<HandlerResult> {
  const { tools } = noNeighbours;
  const builtIn = async (): Promise<HandlerResult> => ({ kind: "done", output: "built in" });
  const all = {
    llm: builtIn,
    tool: builtIn,
    retrieval: builtIn,
    sandbox: builtIn,
    approval: builtIn,
  };
  const add = { name: "add", description: "Adds.", input: { type: "object" }, run: () => 1 };
  const host = createFunctionHost({ tools: [add], schemas: createSchemaChecker(), log: silent });
  const handlers = withUsersHandlers(all, users, { tools: toolName === "add" ? host : tools });
  const scope = {
    job: { ...sampleJob, stepType, input: { tool_name: toolName, tool_input: {} } },
    signal: new AbortController().signal,
    log: silent,
    permission: async () => ({ allowed: true, grant: null, action, verdict: verdict.allow("") }),
    effect: async (effect: { repeat: string; run: StepScope["effect"] }) => {
      ranAs.push(effect.repeat);
      const outcome = await (
        effect.run as () => Promise<{ ok: boolean; failure?: never; value?: never }>
      )();
      return outcome.ok
        ? outcome
        : { ok: false, result: { kind: "failed", failure: outcome.failure } };
    },
  } as unknown as StepScope;
  return handlers[stepType](scope);
}
const ranAs: string[] = [];

describe("a handler of the user's", () => {
  it("that returns anything at all ends the step with a result or with one clear failure [library.users-code]", async () => {
    const near = fc.record(
      {
        kind: fc.constantFrom("done", "asked", "failed", "other"),
        output: anything,
        asks: anything,
        failure: anything,
        usage: anything,
      },
      { requiredKeys: ["kind"] },
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(anything, near), async (returned) => {
        const result = await handle({ llm: async () => returned as never }, { stepType: "llm" });
        if (result.kind === "failed" && result.failure.kind === "handler_failed") {
          return result.failure.message.startsWith('the handler "llm" returned');
        }
        expect(result).toEqual(JSON.parse(JSON.stringify(result)));
        return isJsonObject(returned) && result.kind === returned["kind"];
      }),
      { numRuns: 1_000 },
    );
  });

  it("that throws fails the step, with its place and its words [library.users-code]", async () => {
    const thrown = await handle({
      "tool:charge_card": async () => {
        throw new RangeError("no such card");
      },
    });
    expect(thrown).toMatchObject({
      kind: "failed",
      failure: {
        kind: "handler_failed",
        message: expect.stringMatching(
          /^the handler "tool:charge_card" threw at tests\/library\/users-code\.test\.ts:\d+: no such card$/u,
        ),
      },
    });
  });

  it("whose effect brings no outcome, no JSON, or throws, fails clearly; what forgets `repeat` is unsafe [library.users-code]", async () => {
    const effects: [unknown, string][] = [
      [async () => undefined, "brought undefined; expected { ok: true, value }"],
      [async () => ({ ok: true, value: 5n }), "brought what holds a BigInt"],
      [async () => ({ ok: false, failure: { kind: "sad" } }), "brought what is no failure"],
      [async () => Promise.reject(new Error("line is dead")), "line is dead"],
      [undefined, 'effect "charge" has no function `run`'],
    ];
    for (const [runIt, message] of effects) {
      const result = await handle({
        tool: async ({ effect }) => {
          const done = await effect({ name: "charge", input: {}, run: runIt } as never);
          return done.ok ? { kind: "done", output: done.value } : done.result;
        },
      });
      expect(result).toMatchObject({
        kind: "failed",
        failure: { message: expect.stringContaining(message) },
      });
    }
    expect(new Set(ranAs)).toEqual(new Set(["unsafe"]));
  });

  it("takes over one tool, by any of its spellings, and nothing else [library.handlers]", async () => {
    const own: UsersHandler = async () => ({ kind: "done", output: "own" });
    const outputOf = async (key: string, toolName: string) => {
      const result = await handle({ [key]: own }, { toolName });
      return result.kind === "done" ? result.output : result;
    };
    expect(await outputOf("tool:charge_card", "charge_card")).toBe("own");
    expect(await outputOf("tool:charge_card", "wipe")).toBe("built in");
    expect(await outputOf("tool:functions/add", "add")).toBe("own");
    expect(await outputOf("tool:add", "add")).toBe("own");
    expect(await outputOf("tool:other/add", "add")).toBe("built in");
  });

  it("falls through from a tool's to its step type's and to the built-in one [library.handlers]", async () => {
    const passed: string[] = [];
    const passing =
      (name: string): UsersHandler =>
      async (_scope, next) => {
        passed.push(name);
        return next();
      };
    const result = await handle({ "tool:charge_card": passing("tool's"), tool: passing("type's") });
    expect(passed).toEqual(["tool's", "type's"]);
    expect(result).toEqual({ kind: "done", output: "built in", usage: null });
  });
});
