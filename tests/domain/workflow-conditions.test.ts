import * as fc from "fast-check";
import { JSONPathEnvironment } from "json-p3";
import { describe, expect, it } from "vitest";
import { readCondition } from "../../adapters/workflows/conditions.ts";
import { fillTemplate, resolveSelected } from "../../adapters/workflows/expressions.ts";
import { readPath } from "../../adapters/workflows/paths.ts";
import { decideStep } from "../../adapters/workflows/step-request.ts";
import { takeWork } from "../../adapters/workflows/work.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { cpuMs } from "../support/cpu-time.ts";

function holds(condition: string, scope: JsonObject = {}): boolean {
  const read = readCondition(condition);
  if (!read.ok) throw new Error(`${condition}: ${read.problem}`);
  return read.holds(scope);
}

function selects(path: string, scope: JsonObject): Json | undefined {
  const read = readPath(path);
  if (!read.ok) throw new Error(read.problem);
  return read.path.select(scope);
}

const scope: JsonObject = {
  input: {
    n: 3,
    f: -2.5,
    t: "a == b && c",
    yes: true,
    no: false,
    nil: null,
    list: [1, "x", { a: [1] }],
    o: { k: 1 },
    empty: [],
  },
  "my.step": { x: 1 },
  "a-b": { x: 2 },
};

describe("what a condition says", () => {
  it.each([
    ["$.input.n == 3", true],
    ["$.input.n >= 3 && $.input.n <= 3 && !($.input.n > 3) && !($.input.n < 3)", true],
    ["$.input.f == -2.5", true],
    ["$.input.f < -2", true],
    ["-1 < 0", true],
    ["$.input.t == 'a == b && c'", true],
    ['$.input.t == "a == b && c"', true],
    ["$.input.t != 'it\\'s'", true],
    ["$.input.yes", true],
    ["!$.input.no", true],
    ["$.input.nil == null", true],
    ["$.input.missing == null && $.nothing.at.all == null", true],
    ["$.input.missing != true", true],
    ["$.input.missing", false],
    ["$.input.nil >= 3", false],
    ["$.input.nil < 3", false],
    ["'10' < 9", false],
    ["'b' > 'a'", true],
    ["'x' in $.input.list", true],
    ["$.input.n in [1, 2, 3]", true],
    ["'k' in $.input.o", true],
    ["'toString' in $.input.o", false],
    ["3 in $.input.missing", false],
    ["$.input.list[2] == $.input.list[-1]", true],
    ["1 in $.input.list[2].a", true],
    ["$.input.list[?@ == 'x']", true],
    ["$.input.list[?@ == 'y']", false],
    ["$.input.empty", false],
    ["$['my.step'].x == 1", true],
    ["$.a-b.x == 2", true],
    ["$.input['n'] == 3", true],
    ["true || $.input.missing.x && false", true],
    ["$.input.no == false && $.input.yes == true", true],
    ["1 == 1.0", true],
    ["1 == '1'", false],
    ["1e2 == 100", true],
  ])("%s: %s [workflow.conditions]", (condition, answer) => {
    expect(holds(condition, scope)).toBe(answer);
  });

  it("is what JavaScript says of the same comparison, over all pairs of values [workflow.conditions]", () => {
    const value = fc.oneof(
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string(),
      fc.boolean(),
      fc.constant(null),
    );
    const op = fc.constantFrom("==", "!=", "<", "<=", ">", ">=", "in");
    fc.assert(
      fc.property(value, value, op, (one, other, operator) => {
        const given = { input: { one, other, list: [other] } } as JsonObject;
        const right = operator === "in" ? "$.input.list" : "$.input.other";
        const isOrdered = typeof one === typeof other && ["number", "string"].includes(typeof one);
        const same = JSON.stringify(one) === JSON.stringify(other) || one === other;
        const [a, b] = [one as number, other as number];
        const expected = {
          "==": same,
          "!=": !same,
          "<": isOrdered && a < b,
          "<=": isOrdered && a <= b,
          ">": isOrdered && a > b,
          ">=": isOrdered && a >= b,
          in: same,
        }[operator];
        expect(holds(`$.input.one ${operator} ${right}`, given)).toBe(expected);
        expect(holds(`!($.input.one ${operator} ${right})`, given)).toBe(!expected);
      }),
    );
  });

  it("is an answer or a refusal with its place, never an exception, whatever the text [workflow.conditions]", () => {
    const piece = fc.constantFrom(
      "$.input.n",
      "$",
      ".",
      "[",
      "]",
      "(",
      ")",
      "!",
      "==",
      "&&",
      "||",
      "in",
      "'",
      '"',
      "1",
      "-",
      " ",
      "true",
      "null",
      "{",
      "}",
      ",",
      "?",
      "@",
      "*",
      "..",
      "\\",
      "u",
      "r'",
      "size(",
      "\u0000",
      "é",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 25 }), fc.jsonValue(), (pieces, input) => {
        const text = pieces.join("");
        const read = readCondition(text);
        if (read.ok) expect(typeof read.holds({ input: input as Json })).toBe("boolean");
        else expect(read.offset).toBeLessThanOrEqual(text.length);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what a path selects", () => {
  it("is one value, or a list where it may be several [workflow.paths]", () => {
    expect(selects("$.input.list[2].a[0]", scope)).toBe(1);
    expect(selects("$.input.list[*]", scope)).toEqual([1, "x", { a: [1] }]);
    expect(selects("$.input..a", scope)).toEqual([[1]]);
    expect(selects("$.input.list[0:2]", scope)).toEqual([1, "x"]);
    expect(selects("$.input.missing", scope)).toBeUndefined();
    expect(selects("$.input.missing[*]", scope)).toEqual([]);
    expect(selects("$.input.constructor", scope)).toBeUndefined();
    expect(selects("$.input.__proto__", scope)).toBeUndefined();
  });

  it("costs no more than what it looks at, whatever pattern a result brings [workflow.paths]", () => {
    const evil = {
      input: {
        pattern: "(a+)+$",
        texts: Array.from({ length: 50 }, () => `${"a".repeat(5_000)}b`),
      },
    };
    const begun = cpuMs();
    expect(selects("$.input.texts[?search(@, $.input.pattern)]", evil)).toEqual([]);
    expect(selects("$.input.texts[?match(@, 'a+b')]", evil)).toHaveLength(50);
    expect(cpuMs() - begun).toBeLessThan(5_000);
    const deep = { input: JSON.parse(`${'{"a":['.repeat(45)}1${"]}".repeat(45)}`) as Json };
    expect(selects("$.input..a", deep)).toHaveLength(45);
  });
});

describe("what a step's expressions may cost", () => {
  const decide = (condition: string, input: Json) =>
    decideStep({ id: "a", type: "llm", condition, config: { task: "go" } }, { input });
  const tens = (times: number) => `[${Array(10).fill("0").join(",")}]`.repeat(times);
  const nested = Array.from({ length: 14 }).reduce<Json>((inner) => [inner], 1);
  const numbers = Array.from({ length: 100_000 }, (_, at) => at);
  const names = Object.fromEntries(numbers.map((at) => [at, 1]));
  const long = "a".repeat(500_000);
  const costly: [string, string, Json][] = [
    ["selectors that select the same again and again", `$.input${tens(12)}`, nested],
    ["such in a filter", `$.input[?@${tens(12)}]`, [nested]],
    ["a whole value walked by many paths", Array(60).fill("$.input..[?@.q]").join("||"), numbers],
    ["more than the library can hold", "$.input..*", [...numbers, ...numbers]],
    [
      "lists compared for each item",
      "$.input.l[?$.input.a == $.input.b]",
      { l: numbers, a: numbers, b: numbers },
    ],
    [
      "texts compared for each item",
      "$.input.l[?$.input.a <= $.input.b]",
      { l: numbers, a: long, b: long },
    ],
    ["names counted for each item", "$.input.l[?length($.input.o) == 1]", { l: numbers, o: names }],
    [
      "patterns that are each compiled",
      "$.input[?search('a', @)]",
      numbers.slice(0, 2_000).map((at) => `${at}${"\\pL{0,80}".repeat(8)}`),
    ],
    [
      "a large pattern over a long text",
      "$.input.l[?search(@, $.input.p)]",
      { l: [long], p: "[ab]{0,900}[cd]$" },
    ],
    [
      "values compared again and again",
      Array(60).fill("$.input.a == $.input.b").join("&&"),
      { a: numbers, b: numbers },
    ],
  ];

  it.each(costly)("is bounded: %s [workflow.paths]", (_, condition, input) => {
    takeWork();
    expect(decide(condition, input)).toMatchObject({
      ok: false,
      failure: { kind: "too_large", message: expect.stringContaining("select less") },
    });
    // Told to whoever serves others meanwhile, in characters.
    expect(takeWork()).toBeLessThan(64 * 1024 * 1024);
  });

  it("is enough for a filter over a hundred thousand items [workflow.paths]", () => {
    expect(decide("$.input[?@ > 99998]", numbers)).toEqual({ ok: true, value: { runs: true } });
  });

  it("changes nothing of what is selected, whatever the path [workflow.paths]", () => {
    const plain = new JSONPathEnvironment();
    const part = fc.constantFrom(
      "a",
      "b",
      "0",
      "-1",
      "*",
      ":2",
      "?@.a",
      "?@ == $.x.a",
      "?@[*] && @ < 2",
      "?length(@) > 1",
    );
    const selectors = fc
      .array(part, { minLength: 1, maxLength: 3 })
      .map((parts) => `[${parts.map((one) => (/^[ab]$/.test(one) ? `'${one}'` : one)).join(",")}]`);
    const key = fc.constantFrom("a", "b");
    const { value } = fc.letrec<{ value: Json }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<Json>(0, 1, 2, "a", "ab", null, true),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(key, tie("value"), { maxKeys: 2 }),
      ),
    }));
    fc.assert(
      fc.property(fc.array(selectors, { maxLength: 4 }), value, (segments, x) => {
        const text = `$.x${segments.join("")}`;
        const read = readPath(text);
        if (!read.ok) return;
        const expected = plain.query(text, { x } as never).values();
        const found = read.path.select({ x });
        expect(
          Array.isArray(found) && !plain.compile(text).singularQuery()
            ? found
            : [found].filter((one) => one !== undefined),
        ).toEqual(expected);
      }),
      { numRuns: 300 },
    );
  });
});

describe("templates", () => {
  it("show texts as they are, all else as JSON, and leave other braces alone [workflow.paths]", () => {
    const text =
      "{{ $.input.n }} {{$.input.o}} {{$.input.no}} {{name}} {{$.input['t']}} {{$.input.missing}}";
    expect(fillTemplate(text, scope, "N/A")).toBe('3 {"k":1} false {{name}} a == b && c N/A');
    expect(() => fillTemplate(text, scope, null)).toThrow("{{$.input.missing}} selects nothing");
  });

  it("keep a value's type where the value stands alone [workflow.paths]", () => {
    const given = {
      n: "$.input.n",
      t: "n is {{$.input.n}}",
      l: ["$.input.o", 1, null],
      plain: "plain",
    };
    expect(resolveSelected(given, scope)).toEqual({
      n: 3,
      t: "n is 3",
      l: [{ k: 1 }, 1, null],
      plain: "plain",
    });
    expect(() => resolveSelected({ a: "$.input.missing" }, scope)).toThrow("selects nothing");
  });
});
