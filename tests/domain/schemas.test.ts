import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RE2JS } from "re2js";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { patternSize } from "../../machines/contracts/domain/pattern-size.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import { jsonObjects, jsonValues } from "./json-objects.ts";

const checker = createSchemaChecker();

function check(schema: JsonObject, value: unknown): string {
  const compiled = checker.compile(schema);
  return typeof compiled === "string" ? "refused" : compiled.check(value).kind;
}

const names = ["a", "b", "__proto__", "$async"];
const patterns = [
  "^(a+)+$",
  "(a|a)*b",
  "^(?!x)",
  "(",
  "\\1",
  "^[a-z]{1,50}$",
  "a{1000}{1000}",
  "$",
];
const refs = [
  "#",
  "#/$defs/a",
  "#/default",
  "#/properties/a",
  "#/allOf/0",
  "#/enum/0",
  "http://x/y",
];
const dialects = [
  "http://json-schema.org/draft-04/schema#",
  "http://json-schema.org/draft-06/schema#",
  "http://json-schema.org/draft-07/schema#",
  "https://json-schema.org/draft/2019-09/schema",
  "https://json-schema.org/draft/2020-12/schema",
];
const formats = ["email", "url", "uri", "regex", "date-time", "hostname", "none-of-these"];

type Keyword = fc.Arbitrary<[string, Json]>;
const keyword = (name: string, value: fc.Arbitrary<Json>): Keyword => value.map((v) => [name, v]);

const plainKeywords: Keyword[] = [
  keyword("type", fc.constantFrom<Json>("object", "array", "string", ["string", "null"], "none")),
  keyword("$ref", fc.constantFrom<Json>(...refs)),
  keyword("$async", fc.constantFrom<Json>(true, false)),
  keyword("pattern", fc.constantFrom<Json>(...patterns)),
  keyword("format", fc.constantFrom<Json>(...formats)),
  keyword("uniqueItems", fc.boolean()),
  keyword("const", jsonValues),
  keyword("unevaluatedProperties", fc.boolean()),
  keyword("required", fc.array(fc.constantFrom<Json>(...names), { maxLength: 2 })),
  keyword("minimum", fc.constantFrom<Json>(1, "1")),
  keyword("exclusiveMinimum", fc.constantFrom<Json>(true, 1)),
  keyword("$schema", fc.constantFrom<Json>(...dialects)),
  keyword("id", fc.constantFrom<Json>("x", "http://x/y")),
  keyword("nullable", fc.boolean()),
];

/** Schemas in which every keyword is likely, however oddly they go together. */
function schemasOf(depth: number): fc.Arbitrary<JsonObject> {
  const inner = depth === 0 ? null : (schemasOf(depth - 1) as fc.Arbitrary<Json>);
  const keywords = inner === null ? plainKeywords : [...plainKeywords, ...nestedKeywords(inner)];
  return fc
    .array(fc.oneof(...keywords), { maxLength: 4 })
    .map((pairs) => Object.fromEntries(pairs));
}

function nestedKeywords(inner: fc.Arbitrary<Json>): Keyword[] {
  const list = fc.array(inner, { minLength: 1, maxLength: 2 }) as fc.Arbitrary<Json>;
  const map = (of: string[]) =>
    fc.dictionary(fc.constantFrom(...of), inner, { maxKeys: 2 }) as fc.Arbitrary<Json>;
  const single = ["default", "items", "additionalProperties", "propertyNames", "contains", "not"];
  return [
    ...[...single, "if", "then"].map((name) => keyword(name, inner)),
    ...["items", "prefixItems", "allOf", "anyOf", "oneOf", "enum"].map((name) =>
      keyword(name, list),
    ),
    keyword("properties", map(names)),
    keyword("$defs", map(names)),
    keyword("patternProperties", map(patterns)),
  ];
}

const schemas = schemasOf(3);

describe("a foreign schema", () => {
  it("never throws, whatever it says and whatever it is asked of [schema.bounded]", () => {
    const values = fc.oneof(jsonValues, fc.constantFrom<Json>("a".repeat(3_000), {}, [], [1, 1]));
    fc.assert(
      fc.property(fc.oneof(schemas, jsonObjects), values, (schema, value) => {
        expect(["valid", "invalid", "unusable", "refused"]).toContain(check(schema, value));
      }),
      { numRuns: 1_500 },
    );
  });

  it("that says $async anywhere is refused, and a property of that name is not [schema.bounded]", () => {
    expect(check({ $async: true, type: "string" }, 1)).toBe("refused");
    expect(check({ properties: { a: { anyOf: [{ $async: true }] } } }, { a: 1 })).toBe("refused");
    expect(check({ $ref: "#/default", default: { $async: true } }, 1)).toBe("refused");
    expect(check({ properties: { $async: { type: "string" } } }, { $async: 1 })).toBe("invalid");
  });

  it("takes steps in proportion to the value, and no more than its bound [schema.bounded]", () => {
    const defs: JsonObject = { d0: { type: "string" } };
    for (let at = 1; at <= 40; at += 1) {
      const ref = { $ref: `#/$defs/d${at - 1}` };
      defs[`d${at}`] = { anyOf: [ref, ref] };
    }
    // 2^40 looks without the bound.
    expect(check({ $defs: defs, $ref: "#/$defs/d40" }, 1)).toBe("unusable");
    expect(check({ type: "object", anyOf: [{ $ref: "#" }] }, {})).toBe("unusable");
    const hard = { pattern: "^(([a-z]{1,30}){1,30})$" };
    expect(check(hard, "a".repeat(900))).toBe("valid");
    expect(check(hard, "a".repeat(1_000_000))).toBe("unusable");
    expect(check({ pattern: "^(a+)+$" }, `${"a".repeat(100_000)}!`)).toBe("invalid");
    expect(check({ format: "email" }, `a@${"a-".repeat(200_000)}`)).toBe("invalid");
    expect(check({ format: "url" }, `http://${":".repeat(200_000)}`)).toBe("invalid");
  });

  it("compares no item with each other item", () => {
    const items = Array.from({ length: 60_000 }, (_, at) => ({ a: at, b: ["x"] }));
    expect(check({ uniqueItems: true }, items)).toBe("valid");
    expect(check({ uniqueItems: true }, [...items, { b: ["x"], a: 7 }])).toBe("invalid");
    fc.assert(
      fc.property(fc.array(jsonValues, { maxLength: 6 }), (values) => {
        const texts = values.map((value) => JSON.stringify(sorted(value)));
        const expected = new Set(texts).size === values.length ? "valid" : "invalid";
        expect(check({ uniqueItems: true }, values)).toBe(expected);
      }),
    );
  });

  it("is refused beyond its own size and depth, by name", () => {
    let deep: JsonObject = {};
    for (let at = 0; at < 5_000; at += 1) deep = { not: deep };
    expect(checker.compile(deep)).toMatch(/nested deeper|not JSON/);
    const wide = Object.fromEntries(Array.from({ length: 4_000 }, (_, at) => [`p${at}`, {}]));
    expect(checker.compile({ properties: wide })).toMatch(/more than 3000 objects/);
    expect(checker.compile({ const: "x".repeat(300_000) })).toMatch(/longer than 262144/);
  });

  it("costs little to compile: its patterns are bounded with their repetitions written out [schema.bounded]", () => {
    const atom = fc.constantFrom(
      "a",
      ".",
      "[a-z]",
      String.raw`\p{L}`,
      String.raw`[\p{L}\p{N}_]`,
      "\\{",
      "[]a]",
    );
    const repeat = fc.constantFrom("", "*", "+?", "{3}", "{2,9}", "{4,}", "{0,30}", "{1}");
    const pattern = fc.letrec((tie) => ({
      part: fc.oneof(
        { depthSize: "small" },
        atom,
        fc
          .tuple(
            fc.array(tie("part") as fc.Arbitrary<string>, { minLength: 1, maxLength: 4 }),
            repeat,
          )
          .map(([parts, times]) => `(?:${parts.join("")})${times}`),
        fc.tuple(atom, repeat).map((parts) => parts.join("")),
        fc.tuple(atom, atom).map((parts) => `(${parts.join("|")})`),
      ),
    })).part as fc.Arbitrary<string>;
    fc.assert(
      fc.property(pattern, (text) => {
        const size = patternSize(text);
        // What is over the bound is never compiled.
        fc.pre(size < 20_000);
        try {
          expect(RE2JS.compile(RE2JS.translateRegExp(text)).programSize()).toBeLessThan(
            4 * size + 20,
          );
        } catch (error) {
          // The engine's own bound: such a pattern is not compiled.
          if (!String(error).includes("invalid repeat count")) throw error;
        }
      }),
      { numRuns: 500 },
    );
    const costly = `${String.raw`[\p{L}\p{N}]{1000}`.repeat(100)}x`;
    const properties = (count: number, text: string) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`p${n}`, { pattern: text + n }]));
    const refused = /patterns that are more than 200000 characters, repetitions written out/;
    expect(checker.compile({ properties: properties(1, costly) })).toMatch(refused);
    expect(checker.compile({ properties: properties(250, ".{1000}") })).toMatch(refused);
    expect(checker.compile({ patternProperties: { [costly]: {} } })).toMatch(refused);
    expect(check({ properties: properties(20, ".{1,255}") }, { p3: "x3" })).toBe("valid");
  });

  it("says that a pattern can't be checked, and checks the rest", () => {
    const compiled = checker.compile({ pattern: "^(?!x)", minLength: 2 });
    if (typeof compiled === "string") throw new Error(compiled);
    expect(compiled.unchecked).toEqual(["^(?!x)"]);
    expect(compiled.check("xa").kind).toBe("valid");
    expect(compiled.check("x").kind).toBe("invalid");
  });

  it("does not take what every object inherits for a property", () => {
    expect(check({ required: ["toString"] }, {})).toBe("invalid");
    expect(check({ properties: { constructor: { type: "string" } } }, {})).toBe("valid");
  });
});

describe("every draft is read by its own rules", () => {
  const draft = (name: string, schema: JsonObject) => ({
    $schema: `http://json-schema.org/${name}`,
    ...schema,
  });
  it.each<[string, JsonObject, Json, Json]>([
    [
      "4",
      draft("draft-04/schema#", { id: "http://x/y", minimum: 1, exclusiveMinimum: true }),
      2,
      1,
    ],
    ["6", draft("draft-06/schema#", { exclusiveMinimum: 1 }), 2, 1],
    [
      "7",
      draft("draft-07/schema#", { items: [{ type: "string" }], additionalItems: false }),
      ["a"],
      ["a", 1],
    ],
    [
      "2019-09",
      {
        $schema: "https://json-schema.org/draft/2019-09/schema",
        properties: { a: {} },
        unevaluatedProperties: false,
      },
      { a: 1 },
      { b: 1 },
    ],
    [
      "2020-12",
      {
        $schema: "https://json-schema.org/draft/2020-12/schema",
        prefixItems: [{ type: "string" }],
        items: false,
      },
      ["a"],
      ["a", 1],
    ],
    ["2020-12 where none is named", { prefixItems: [{ type: "string" }] }, ["a"], [1]],
    ["7 where only that reads it", { items: [{ type: "string" }] }, ["a"], [1]],
  ])("%s", (_, schema, good, bad) => {
    expect(check(schema, good)).toBe("valid");
    expect(check(schema, bad)).toBe("invalid");
  });

  it("follows references into subschemas, also into itself [schema.drafts]", () => {
    const tree = { type: "object", properties: { next: { $ref: "#" } }, required: ["id"] };
    expect(check(tree, { id: 1, next: { id: 2 } })).toBe("valid");
    expect(check(tree, { id: 1, next: {} })).toBe("invalid");
    const named = {
      $id: "http://a/b",
      $dynamicAnchor: "n",
      type: "object",
      properties: { a: { $dynamicRef: "#n" } },
    };
    expect(check(named, { a: { a: {} } })).toBe("valid");
    expect(check(named, { a: { a: 1 } })).toBe("invalid");
  });
});

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, part]) => [key, sorted(part)]),
  );
}
