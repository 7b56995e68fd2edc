import { XMLParser } from "fast-xml-parser";
import type { Answer } from "../shared/server-tool.ts";

/** One test as its runner reported it. */
export interface TestCase {
  name: string;
  /** Relative to the project where it is inside it. */
  file: string | null;
  /** Where it failed, or where it stands. */
  line: number | null;
  outcome: "passed" | "failed" | "skipped";
  durationMs: number | null;
  /** Why it failed or was skipped. */
  message: string | null;
}

export interface TestReport {
  tests: TestCase[];
  /** Percent of lines (statements in Go) that ran; null where it was not asked for or not told. */
  coverage: number | null;
}

/** Characters of one test's message that are kept. */
const messageLimit = 4_000;

/** A message as it is shown: no colours, no other control characters, of a bounded length. */
export function cleanMessage(text: string): string {
  const plain = text
    // eslint-disable-next-line no-control-regex
    .replaceAll(/\u001b?\[[0-9;]*m/g, "")
    .replaceAll(/[^\P{Cc}\n\t]/gu, "")
    .trim();
  return (
    plain.length > messageLimit ? `${plain.slice(0, messageLimit)} […]` : plain
  ).toWellFormed();
}

/** Characters of a test's name, and of the path of its file, that are kept. */
const nameLimit = 500;
/** The highest line, and the longest time in milliseconds, that is believed: what fits in 32 bits. */
const mostNumber = 2 ** 31 - 1;

/** A text as it stands in one line: no control characters, no line ends, of a bounded length. */
export function cleanLine(text: string): string {
  const start = text.slice(0, nameLimit * 4).replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
  const isCut = text.length > nameLimit * 4 || start.length > nameLimit;
  return (isCut ? `${start.slice(0, nameLimit)} […]` : start).trim().toWellFormed();
}

/** A line, a column or milliseconds; null for what can be none. */
export const believed = (number: number | null): number | null =>
  number !== null && number >= 0 && number <= mostNumber ? number : null;

/** A test as it is told: whatever its own code wrote into the report, one test's part of the answer is bounded. */
export const cleanTest = ({ name, file, line, durationMs, ...rest }: TestCase): TestCase => ({
  ...rest,
  name: cleanLine(name),
  file: file === null ? null : cleanLine(file),
  line: believed(line),
  durationMs: believed(durationMs),
});

/** A path as a person in the project writes it. */
export function relativeTo(project: string, path: string): string {
  const plain = path.replace(/^file:\/\//, "");
  const prefix = project.endsWith("/") ? project : `${project}/`;
  return plain.startsWith(prefix) ? plain.slice(prefix.length) : plain.replace(/^\.\//, "");
}

/** A place in a text, `file:line` or `file:line:column`, the first in a file that `isOurs` knows. */
export function findPlace(
  text: string,
  isOurs: (file: string) => boolean,
): { file: string; line: number } | null {
  for (const line of text.split("\n")) {
    const [, file = "", number = ""] =
      /(?:^|[\s(])((?:file:\/\/)?[^\s():]+):(\d+)/.exec(line) ?? [];
    if (file !== "" && isOurs(file)) return { file, line: Number(number) };
  }
  return null;
}

/** What of a JUnit testcase a runner's own reader starts from. */
export interface JunitCase {
  name: string;
  classname: string;
  /** The names of the suites around it, from the outside in. */
  suites: string[];
  file: string | null;
  line: number | null;
  seconds: number | null;
  /** A failure's or an error's message and text; null where there is none. */
  failure: { message: string; text: string } | null;
  skipped: string | null;
}

type Element = { readonly [name: string]: unknown };

/**
 * Reads a JUnit report: https://github.com/testmoapp/junitxml, which is what the runners have in common. A test's code
 * can write into it, so entities are not expanded but the five of XML and numbers.
 */
export function readJunit(xml: string): Answer<JunitCase[]> {
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    textNodeName: "#",
    parseTagValue: false,
    parseAttributeValue: false,
    trimValues: false,
    processEntities: false,
    isArray: (name) => lists.has(name),
  });
  let document: Element;
  try {
    document = parser.parse(xml, true) as Element;
  } catch (error) {
    const problem = error instanceof Error ? error.message.slice(0, 200).toWellFormed() : "";
    return { ok: false, problem: `the JUnit report can't be read: ${problem}` };
  }
  const cases: JunitCase[] = [];
  const top = elements(document, "testsuites")[0] ?? document;
  const walk = (suite: Element, suites: string[]): void => {
    for (const test of elements(suite, "testcase")) cases.push(readCase(test, suites));
    for (const inner of elements(suite, "testsuite")) {
      walk(inner, [...suites, attribute(inner, "name") ?? ""]);
    }
  };
  walk(top, []);
  return { ok: true, value: cases };
}

const lists = new Set(["testsuites", "testsuite", "testcase", "failure", "error", "skipped"]);

function readCase(test: Element, suites: string[]): JunitCase {
  const [failed] = [...elements(test, "failure"), ...elements(test, "error")];
  const [skipped] = elements(test, "skipped");
  const line = Number(attribute(test, "line") ?? "x");
  const seconds = Number(attribute(test, "time") ?? "x");
  return {
    name: attribute(test, "name") ?? "",
    classname: attribute(test, "classname") ?? "",
    suites,
    file: attribute(test, "file"),
    line: Number.isSafeInteger(line) ? line : null,
    seconds: Number.isFinite(seconds) ? seconds : null,
    failure:
      failed === undefined
        ? null
        : { message: attribute(failed, "message") ?? "", text: decode(String(failed["#"] ?? "")) },
    skipped: skipped === undefined ? null : (attribute(skipped, "message") ?? ""),
  };
}

/** Elements of a name; the parser gives an empty one, without attributes, as an empty text. */
function elements(parent: Element, name: string): Element[] {
  const found = parent[name];
  if (!Array.isArray(found)) return [];
  return found.map((one: unknown) =>
    typeof one === "object" && one !== null ? (one as Element) : { "#": String(one) },
  );
}

function attribute(element: Element, name: string): string | null {
  const value = element[`@${name}`];
  return typeof value === "string" ? decode(value) : null;
}

const named: Readonly<Record<string, string>> = {
  lt: "<",
  gt: ">",
  amp: "&",
  quot: '"',
  apos: "'",
};

function decode(text: string): string {
  return text.replaceAll(
    /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(lt|gt|amp|quot|apos));/gi,
    (...found) => {
      const [whole = "", hex, decimal, name] = found as (string | undefined)[];
      if (name !== undefined) return named[name.toLowerCase()] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}
