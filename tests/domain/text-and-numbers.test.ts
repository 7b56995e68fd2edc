import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { jsonDepth, maxJsonDepth, parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText, wellFormed } from "../../machines/contracts/domain/text.ts";
import { jsonValues } from "./json-objects.ts";

/** Any UTF-16 units at all, with many of those that break texts. */
const units = fc.oneof(
  fc.integer({ min: 0, max: 0xffff }),
  fc.integer({ min: 0xd800, max: 0xdfff }),
  fc.constantFrom(0, 0x61),
);
const anyText = fc
  .array(units, { maxLength: 40 })
  .map((codes) => codes.map((code) => String.fromCharCode(code)).join(""));
const anyJson = fc.oneof(
  jsonValues,
  fc.letrec((tie) => ({
    value: fc.oneof(
      { depthSize: "small" },
      anyText,
      fc.double(),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(anyText, tie("value"), { maxKeys: 4 }),
    ),
  })).value,
);

const isSound = (text: string) => text.isWellFormed() && !text.includes("\0");

describe("text from outside", () => {
  it("is cut at a character, into a text that any reader takes [text.well-formed]", () => {
    fc.assert(
      fc.property(anyText, fc.nat(50), (text, most) => {
        const cut = cutText(text, most);
        expect(isSound(cut)).toBe(true);
        expect(cut.length).toBeLessThanOrEqual(most);
        // Nothing but the half of a pair at the end is left out beside what had to be.
        expect(cut.length).toBeGreaterThanOrEqual(Math.min(text.length, most - 1));
        expect(cut).toBe(cutText(text, cut.length));
      }),
      { numRuns: 2_000 },
    );
  });

  it("leaves emoji whole wherever they stand", () => {
    const text = `x${"😀".repeat(10)}`;
    for (let most = 0; most <= text.length; most += 1) {
      const cut = cutText(text, most);
      expect(text.startsWith(cut)).toBe(true);
      expect(cut).not.toContain("\uFFFD");
    }
  });

  it("is made well-formed at any depth and in keys; what is so already stays the very same", () => {
    fc.assert(
      fc.property(anyJson, (value) => {
        const before = JSON.stringify(value);
        const made = wellFormed(value);
        expect(JSON.stringify(value)).toBe(before);
        const written = JSON.stringify(made);
        // JSON.stringify escapes exactly the halves of pairs and U+0000.
        expect(/\\u(?:d[89a-f]|0000)/.test(written.replaceAll("\\\\", ""))).toBe(false);
        expect(wellFormed(made)).toBe(made);
        if (written === before) expect(made).toBe(value);
      }),
      { numRuns: 2_000 },
    );
  });

  it("keeps the order of keys, a key __proto__, and takes any depth without a deep stack", () => {
    const odd = JSON.parse('{"b":1,"__proto__":"\\ud800","a":["\\u0000",{"c":"ok"}]}') as unknown;
    expect(JSON.stringify(wellFormed(odd))).toBe(
      '{"b":1,"__proto__":"\uFFFD","a":["\uFFFD",{"c":"ok"}]}',
    );
    let deep: unknown = "\ud800";
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    let inner = wellFormed(deep);
    while (Array.isArray(inner)) inner = inner[0] as unknown;
    expect(inner).toBe("\uFFFD");
  });
});

describe("numbers from outside", () => {
  it("are the number that was written, or are refused by their place [number.exact]", () => {
    const digits = fc.stringMatching(/^[1-9]\d{0,24}$/);
    const number = fc.oneof(
      digits,
      fc.tuple(digits, fc.integer({ min: -30, max: 400 })).map(([n, e]) => `${n}e${e}`),
      fc.tuple(digits, digits, fc.nat(30)).map(([n, f, e]) => `${n}.${f}e${e}`),
      fc.tuple(digits, fc.nat(12)).map(([n, zeros]) => `-${n}.${"0".repeat(zeros + 1)}`),
      fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }).map(String),
    );
    fc.assert(
      fc.property(number, (text) => {
        const read = parseJson(`{"a":[0,${text}]}`);
        const exact = integerOf(text);
        const value = Number(text);
        if (read.ok) {
          expect(Number.isFinite(value)).toBe(true);
          expect(read.value).toEqual({ a: [0, value] });
          // What is written again denotes the same whole number.
          if (exact !== null) expect(integerOf(String(value))).toBe(exact);
        } else {
          expect(read).toMatchObject({ reason: "number" });
          expect(read.problem).toContain("a[1]");
          expect(read.problem).toContain(text.slice(0, 40));
          const unsafe = Math.abs(value) > Number.MAX_SAFE_INTEGER;
          expect(unsafe || value === 0).toBe(true);
        }
      }),
      { numRuns: 5_000 },
    );
  });

  it.each(["9007199254740993", "-9007199254740993", "900719925474099.3e1", "1e400", "1e-400"])(
    "refuses %s",
    (text) => {
      expect(parseJson(text)).toMatchObject({ reason: "number", ok: false });
      expect(parseJson(`{"id":${text}}`)).toMatchObject({ problem: expect.stringContaining("id") });
    },
  );

  it.each([
    "9007199254740992",
    "1e23",
    "100000000000000000000000",
    "0e999",
    "0.1",
    "1.5e-5",
    "3.141592653589793238",
  ])("takes %s", (text) => expect(parseJson(text)).toEqual({ ok: true, value: Number(text) }));

  it("are found wherever they stand, and named by the way to them", () => {
    const lost = "9007199254740993";
    const pathOf = (text: string) => {
      const read = parseJson(text);
      return read.ok ? null : read.problem;
    };
    expect(pathOf(`{"a":"x","b":[{"c":"]"},{"d\\"":[1,${lost}]}]}`)).toContain('b[1].d"[1] that');
    expect(pathOf(`[[],{"k":"\\\\"},${lost}]`)).toContain(" [2] that");
    expect(pathOf(`  ${lost} `)).toContain("the top");
    expect(pathOf(`{"a":{"${"k".repeat(500)}":${lost}}}`)?.length).toBeLessThan(400);
  });

  it("are kept as the text of their digits where that is asked for", () => {
    const value = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        anyText.map((text) => [JSON.stringify(text), JSON.stringify(wellFormed(text))]),
        fc.integer().map((n) => [String(n), String(n)]),
        fc
          .bigInt({ min: 2n ** 53n, max: 2n ** 80n })
          .map((n) => [
            String(n),
            integerOf(String(Number(n)).replace("e+", "e")) === n ? String(Number(n)) : `"${n}"`,
          ]),
        fc
          .array(tie("value") as fc.Arbitrary<string[]>, { maxLength: 4 })
          .map((items) => [0, 1].map((i) => `[${items.map((item) => item[i]).join(" , ")}]`)),
        fc
          .dictionary(fc.string({ maxLength: 3 }), tie("value") as fc.Arbitrary<string[]>, {
            maxKeys: 4,
          })
          .map((entries) =>
            [0, 1].map(
              (i) =>
                `{${Object.entries(entries)
                  .map(([key, item]) => `${JSON.stringify(key)} : ${item[i]}`)
                  .join(",")}}`,
            ),
          ),
      ),
    })).value as fc.Arbitrary<string[]>;
    fc.assert(
      fc.property(value, ([written = "", kept = ""]) => {
        const read = parseJson(written, { lost: "as-text" });
        expect(read.ok && read.value).toEqual(JSON.parse(kept));
      }),
      { numRuns: 1_000 },
    );
  });

  it("passes over digits that are text", () => {
    const value = { id: "9007199254740993", hash: "1e999", path: "a.5e" };
    expect(parseJson(JSON.stringify(value))).toEqual({ ok: true, value });
  });
});

describe("JSON from outside", () => {
  it("is read as it was written, whatever it is [json.door]", () => {
    fc.assert(
      fc.property(jsonValues, (value) => {
        const sound = wellFormed(value);
        expect(parseJson(JSON.stringify(value), { maxDepth: 1_000 })).toEqual({
          ok: true,
          value: sound,
        });
      }),
      { numRuns: 1_000 },
    );
  });

  it("never throws on any text", () => {
    fc.assert(
      fc.property(fc.oneof(anyText, fc.stringMatching(/^[[\]{}":,0-9eE.\\u-]*$/)), (text) => {
        const read = parseJson(text);
        expect(read.ok || ["syntax", "number", "depth"].includes(read.reason)).toBe(true);
      }),
      { numRuns: 2_000 },
    );
  });

  it("is refused beyond its depth, however deep it is", () => {
    const nested = (levels: number) => "[".repeat(levels) + "]".repeat(levels);
    expect(parseJson(nested(maxJsonDepth)).ok).toBe(true);
    expect(parseJson(nested(maxJsonDepth + 1))).toMatchObject({ reason: "depth" });
    expect(parseJson(nested(500_000))).toMatchObject({ ok: false });
    // A reader that calls itself at every level would end in a RangeError here.
    const odd = (levels: number) => `{"n":9007199254740993,"a":${nested(levels)}}`;
    for (let levels = 1_000; levels <= 500_000; levels *= 2) {
      expect(parseJson(odd(levels), { maxDepth: 1_000_000 })).toMatchObject({ reason: "number" });
      expect(parseJson(odd(levels), { maxDepth: 999, lost: "as-text" })).toMatchObject({
        reason: "depth",
      });
    }
    expect(jsonDepth(JSON.parse(nested(5_000)))).toBe(5_000);
    expect([jsonDepth(1), jsonDepth([]), jsonDepth({ a: [1] })]).toEqual([0, 1, 2]);
  });
});

/** The whole number that a JSON number denotes, to the last digit; null for a fraction. */
function integerOf(text: string): bigint | null {
  const [mantissa = "", power = "0"] = text.split("e");
  const [whole = "", fraction = ""] = mantissa.split(".");
  const digits = BigInt(whole + fraction);
  const exponent = Number(power) - fraction.length;
  if (exponent >= 0) return digits * 10n ** BigInt(exponent);
  const divisor = 10n ** BigInt(-exponent);
  return digits % divisor === 0n ? digits / divisor : null;
}
