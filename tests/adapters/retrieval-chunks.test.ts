import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chunksOf, type DocumentKind } from "../../adapters/retrieval/chunks.ts";

const wordsOf = (text: string) => text.split(/\s+/u).filter((word) => word !== "");

describe("a document is cut into chunks", () => {
  test("by its headings, whose path each chunk has; fences, underlines and skipped levels are known", () => {
    const text = [
      "before any heading",
      "# Guide",
      "## Install",
      "run it",
      "```sh",
      "# no heading: a comment",
      "",
      "npm start",
      "```",
      "#### Deep #",
      "deep text",
      "",
      "Use",
      "---",
      "used",
    ].join("\n");
    expect(chunksOf(text, "markdown", 400)).toEqual([
      { content: "before any heading", headings: [], line: 1, endLine: 1 },
      {
        content: "run it\n```sh\n# no heading: a comment\n\nnpm start\n```",
        headings: ["Guide", "Install"],
        line: 4,
        endLine: 9,
      },
      { content: "deep text", headings: ["Guide", "Install", "Deep"], line: 11, endLine: 11 },
      { content: "used", headings: ["Guide", "Use"], line: 15, endLine: 15 },
    ]);
    expect(chunksOf("Use\n---\nused", "markdown", 400)).toEqual([
      { content: "used", headings: ["Use"], line: 3, endLine: 3 },
    ]);
  });

  test("with a section that has no text found by its title", () => {
    const text = "# Guide\n## Install\n## Use\n\nAbout\n===\nus\n### Terms\nEnd\n---";
    expect(
      chunksOf(text, "markdown", 400).map(({ content, headings, line }) => [
        ...headings,
        content,
        line,
      ]),
    ).toEqual([
      ["Guide", "Install", 2],
      ["Guide", "Use", 3],
      ["About", "us", 7],
      ["About", "Terms", 8],
      ["About", "End", 9],
    ]);
  });

  test("between functions, which stay whole where they fit", () => {
    const one = "function one() {\n  const a = 1;\n\n  return a;\n}";
    const two = "/** Two. */\nfunction two() {\n  return 2;\n}";
    const chunks = chunksOf(`${one}\n\n${two}\n`, "code", 60);
    expect(chunks.map(({ content }) => content)).toEqual([one, two]);
    expect(chunks.map(({ line, endLine }) => [line, endLine])).toEqual([
      [1, 5],
      [7, 10],
    ]);
  });

  test("with an overlap where a paragraph had to be cut", () => {
    const text = Array.from({ length: 60 }, (_, at) => `word${at}`).join(" ");
    const chunks = chunksOf(text, "text", 100);
    for (const [at, { content }] of chunks.entries()) {
      const next = chunks[at + 1];
      if (next === undefined) continue;
      expect(wordsOf(content)).toContain(wordsOf(next.content)[0]);
    }
  });

  test("within their bound, with every word in one, and the lines that they name [retrieval.chunks]", () => {
    const line = fc.oneof(
      fc.constantFrom(
        "",
        "",
        "# A",
        "### B",
        "```",
        "~~~~",
        "---",
        "===",
        "| a | b |",
        "- item",
        "  indented",
      ),
      fc.string({ unit: "binary", maxLength: 300 }).map((text) => text.replaceAll(/[\r\n]/gu, " ")),
      fc.lorem({ maxCount: 40 }),
    );
    const kind = fc.constantFrom<DocumentKind>("markdown", "code", "text");
    fc.assert(
      fc.property(
        fc.array(line, { maxLength: 40 }),
        kind,
        fc.integer({ min: 60, max: 700 }),
        (lines, of, bound) => {
          const chunks = chunksOf(lines.join("\n"), of, bound);
          const found = new Set(
            chunks.flatMap(({ content, headings }) => wordsOf([content, ...headings].join(" "))),
          );
          const all = [...found].join("\u0000");
          for (const { content, line: from, endLine } of chunks) {
            expect(content.length).toBeLessThanOrEqual(bound);
            expect(content.trim()).not.toBe("");
            expect(from).toBeGreaterThan(0);
            expect(endLine).toBeGreaterThanOrEqual(from);
            expect(endLine).toBeLessThanOrEqual(lines.length);
            const named = wordsOf(lines.slice(from - 1, endLine).join(" ")).join("");
            // Without what it repeats of the chunk before it.
            expect(named).toContain(wordsOf(content).at(-1));
          }
          const lorem = lines.flatMap((text) => (/^[a-z ]+$/u.test(text) ? wordsOf(text) : []));
          const lost = lorem.filter((word) => word.length < bound && !all.includes(word));
          expect(lost).toEqual([]);
        },
      ),
      { numRuns: 50 },
    );
  });
});
