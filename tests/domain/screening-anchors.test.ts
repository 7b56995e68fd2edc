import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  flaggedPassword,
  flaggedUser,
  passBesideLogin,
} from "../../machines/contracts/domain/screening/command-secrets.ts";
import { controlsIn } from "../../machines/contracts/domain/screening/hidden-characters.ts";
import { linkForms } from "../../machines/contracts/domain/screening/links.ts";
import {
  namedInLogs,
  pairedSecret,
} from "../../machines/contracts/domain/screening/named-secrets.ts";
import { personalForms } from "../../machines/contracts/domain/screening/personal-data.ts";
import { secretForms } from "../../machines/contracts/domain/screening/secret-forms.ts";
import { scannerOf, secretsInOutputs } from "../../machines/contracts/domain/screening/secrets.ts";
import type { Form, Span } from "../../machines/contracts/domain/screening/spans.ts";
import { spelledSecret } from "../../machines/contracts/domain/screening/spelled-secrets.ts";
import { unknownForms } from "../support/planted-secrets.ts";

const links = (hosts: string[]) => linkForms({ hosts, isOn: () => true });
const besideNames = [pairedSecret, spelledSecret, flaggedUser, flaggedPassword, passBesideLogin];
/** As steps' outputs are screened by default, with every rule on, and as logs are. */
const sets: Form[][] = [
  [...secretsInOutputs, ...links([])],
  [...secretsInOutputs, ...personalForms, ...links(["docs.example.com"])],
  [...secretForms, namedInLogs, ...besideNames],
];

/** Each form tried at every place where one of its anchors stands, found by comparing it there. */
function spansOneByOne(forms: readonly Form[], text: string): Span[] {
  const read = text
    .replaceAll(/[\t\r\n]/gu, " ")
    .replaceAll(/[A-Z]/gu, (letter) => letter.toLowerCase());
  const isDigit = (at: number) => /\d/u.test(read.charAt(at));
  return forms.flatMap((form) => {
    const find = form.fresh?.() ?? form.find;
    const spans: Span[] = [];
    for (let at = 0; at < read.length;) {
      const anchor = form.anchors.find((one) => read.startsWith(one, at));
      const goesOn = anchor?.length === 1 && isDigit(at) && isDigit(at - 1);
      const found = anchor === undefined || goesOn ? null : find(text, at);
      at = Math.max(at + 1, found?.next ?? 0);
      const span = found?.span ?? [];
      if ("start" in span) spans.push({ ...span, kind: form.kind });
      else spans.push(...span);
    }
    return spans;
  });
}

const inOrder = (spans: readonly Span[]): string[] =>
  spans.map(({ start, end, kind }) => `${start}-${end} ${kind}`).sort();

const eitherCase = (text: string) =>
  fc
    .array(fc.boolean(), { minLength: 4, maxLength: 4 })
    .map((upper) =>
      text.replaceAll(/./gsu, (one, at) => (upper[at % 4] ? one.toUpperCase() : one)),
    );
const anchors = [...new Set(sets.flat().flatMap((form) => form.anchors))];
const examples = [
  ...unknownForms().map(({ text }) => text),
  "[a](javascript:alert(1))",
  "![a](//evil.test/?q=1)",
  '<img src="https://evil.test/?q=1">',
  "url(https://evil.test/?q=1)",
  "\\u003ca href=//evil.test",
  "curl -u me:pa55word",
  "mysql -u me -pA1b2c3d4 shop",
  "unzip -P A1b2c3d4 a.zip",
  "user: me, pass: hunter22x",
  "4111 1111 1111 1111",
  "jane@example.org",
  "+43 660 123 45 67",
  "DE89 3704 0044 0532 0130 00",
  "<password>hunter22x</password>",
];
const prose = [
  "The tests passed after the change; the key is named in the list of values.",
  "const token = getToken();\n",
  "日本語 text 🏴 and naïve café ",
  "passwords are kept as hashes",
  '{"name": "input_tokens", "value": 12}',
];
const texts = fc.oneof(
  // Nothing shorter than a scanner looks at is anything.
  fc.string({ unit: fc.constantFrom(..."](<a/\\:=@.b1-+'\" \n!"), maxLength: 7 }),
  fc
    .array(
      fc.oneof(
        fc.constantFrom(...anchors).chain(eitherCase),
        fc.constantFrom(...examples),
        fc.constantFrom(...prose),
        fc.string({ maxLength: 4 }),
        fc.constantFrom(..." \n\t:=\"'<>()[]/@aKſİ1"),
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join("")),
);

describe("a scanner that looks only where an anchor may stand", () => {
  it("finds what each form finds that is tried alone at every place, and nothing else [screening.rules]", () => {
    const scanners = sets.map((forms) => ({ forms, scan: scannerOf(forms) }));
    let withSpans = 0;
    let without = 0;
    fc.assert(
      fc.property(texts, (text) => {
        for (const { forms, scan } of scanners) {
          const spans = inOrder(scan(text));
          expect(spans).toEqual(inOrder(spansOneByOne(forms, text)));
          if (spans.length > 0) withSpans += 1;
          else without += 1;
        }
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(withSpans, without)).toBeGreaterThan(100);
  });

  it("looks at every control that Unicode has [screening.rules]", () => {
    const controls = Array.from({ length: 0x300 }, (_, code) => String.fromCharCode(code)).filter(
      (one) => /\p{Cc}/u.test(one) && !"\t\n\f\r".includes(one),
    );
    expect(controls.map((one) => controlsIn(`a${one}b`).length)).toEqual(controls.map(() => 1));
    expect(controlsIn("a\tb\r\n\f é\u00a0日\u{1f3f4}")).toEqual([]);
  });
});
