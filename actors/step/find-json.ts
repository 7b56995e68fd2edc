/*
 * JSON in an answer, whatever surrounds it.
 *
 *   thinking   what stands before the end of a thinking block is no part of the answer
 *   whole      all of the answer
 *   fences     each fenced block, whatever its label
 *   among prose  each outermost object or array that is complete
 *
 * Of several the last counts: a model that shows a draft, or what would be wrong, ends with its answer.
 *
 * All in time that grows with the length of the text alone: it is a model's, and may be anything. A scan begins at a
 * bracket and goes on while JSON's grammar holds. Where it breaks, every container that was still open is broken at the
 * same place, so what began inside it need not be scanned again: the scan goes on from there. Only the text of the last
 * string is looked at once more, for a quotation mark in prose may have begun it.
 *
 * A part of a broken container is no answer, however whole it is by itself: neither what was complete before the break,
 * nor what stands between it and the brackets that close what was open. Brackets of prose break before they hold
 * anything, and hide nothing.
 */

/** Parts of an answer that are handed over at most: the longest, the last of them first. */
const maxFound = 64;
const maxFences = 32;

/** Of an answer that may be cut: all of it, or nothing. */
export function* wholeAnswer(text: string): Generator<string> {
  yield afterThinking(text);
}

/** What may be the JSON in an answer, likeliest first. */
export function* jsonCandidates(text: string): Generator<string> {
  const answer = afterThinking(text);
  yield answer;
  yield* [...fenced(answer)].toReversed();
  const found = [...findContainers(answer)];
  const byLength = found.toSorted((a, b) => b.to - b.from - (a.to - a.from));
  const chosen = new Set(byLength.filter((_, rank) => rank < maxFound));
  for (const range of found.toReversed()) {
    if (chosen.has(range)) yield answer.slice(range.from, range.to);
  }
}

const thinkingTags = ["think", "thinking", "thought", "reasoning"];

/** Some servers leave the opening tag to the prompt, so only the end of the block is sure to be there. */
function afterThinking(text: string): string {
  let end = 0;
  for (const tag of thinkingTags) {
    const closing = `</${tag}>`;
    const isAtStart = new RegExp(`^\\s*<${tag}>`, "u").test(text);
    const at = isAtStart ? text.indexOf(closing) : outsideOfContainers(text, closing);
    // It has thought to the end, and answered nothing.
    if (isAtStart && at < 0) return "";
    if (at >= 0) end = Math.max(end, at + closing.length);
  }
  return text.slice(end);
}

/** A closing tag inside of an object or array is its content. */
function outsideOfContainers(text: string, closing: string): number {
  const at = text.indexOf(closing);
  if (at < 0) return -1;
  for (const { from, to } of findContainers(text)) {
    if (from > at) break;
    if (at < to) return -1;
  }
  return at;
}

function* fenced(text: string): Generator<string> {
  let fence = findFence(text, 0);
  for (let count = 0; fence !== null && count < maxFences; count += 1) {
    // A closing fence may open the next block: every two fences in a row are tried.
    const next = findFence(text, fence.after);
    if (fence.after < text.length) yield text.slice(fence.after, next?.at ?? text.length);
    fence = next;
  }
}

/** The next line that begins with three backticks: where it stands, and where the line after it begins. */
function findFence(text: string, from: number): { at: number; after: number } | null {
  let at = text.indexOf("```", from);
  while (at > 0 && !startsLine(text, at)) at = text.indexOf("```", at + 3);
  if (at < 0) return null;
  const end = text.indexOf("\n", at);
  return { at, after: end < 0 ? text.length : end + 1 };
}

/** At most three spaces may stand before a fence, as in CommonMark. */
function startsLine(text: string, at: number): boolean {
  let before = at - 1;
  while (before >= 0 && at - before <= 3 && text[before] === " ") before -= 1;
  return before < 0 || text[before] === "\n";
}

export interface Range {
  from: number;
  /** After the last character. */
  to: number;
}

/** What may come next, by JSON's grammar. */
type Expected = "value" | "value or end" | "key" | "key or end" | "colon" | "comma or end";

/** The outermost complete objects and arrays of a text, in their order. */
export function* findContainers(text: string): Generator<Range> {
  /** Brackets of a broken container that are still to be closed. */
  let unclosed = 0;
  /** What was found since it broke: parts of it, if those brackets come. */
  let found: Range[] = [];
  for (let at = 0; at < text.length;) {
    const char = text[at];
    if (char === "{" || char === "[") {
      const { complete, next, broken } = scan(text, at);
      if (complete !== null) found.push(complete);
      unclosed += broken;
      at = next;
    } else {
      if (unclosed > 0 && (char === "}" || char === "]")) {
        unclosed -= 1;
        if (unclosed === 0) found = [];
      }
      at += 1;
    }
    if (unclosed > 0) continue;
    yield* found;
    found = [];
  }
  yield* found;
}

/**
 * Scans from a bracket until its container is complete or the grammar is broken.
 *
 * @returns the container if it is complete, from where to look on, and how many brackets a broken one left open
 */
function scan(
  text: string,
  start: number,
): { complete: Range | null; next: number; broken: number } {
  const open: number[] = [];
  let holdsAnything = false;
  let expected = "value" as Expected;
  /** Where the last token began, if it is a string. */
  let string: number | null = null;
  let at = start;
  const broken = () => {
    const past = string === null ? at : string + 1;
    return {
      complete: null,
      next: Math.max(past, start + 1),
      broken: holdsAnything ? open.length : 0,
    };
  };
  while (at < text.length) {
    const char = text[at] ?? "";
    if (char === " " || char === "\n" || char === "\r" || char === "\t") {
      at += 1;
      continue;
    }
    if (char === "{" || char === "[") {
      if (expected !== "value" && expected !== "value or end") return broken();
      open.push(at);
      expected = char === "{" ? "key or end" : "value or end";
      at += 1;
    } else if (char === "}" || char === "]") {
      const from = open.at(-1) ?? start;
      const isPair = text[from] === (char === "}" ? "{" : "[");
      if (!isPair || expected === "value" || expected === "key" || expected === "colon") {
        return broken();
      }
      open.pop();
      at += 1;
      if (open.length === 0) return { complete: { from, to: at }, next: at, broken: 0 };
      holdsAnything = true;
      expected = "comma or end";
    } else if (char === ",") {
      if (expected !== "comma or end") return broken();
      holdsAnything = true;
      expected = text[open.at(-1) ?? start] === "{" ? "key" : "value";
      at += 1;
    } else if (char === ":") {
      if (expected !== "colon") return broken();
      holdsAnything = true;
      expected = "value";
      at += 1;
    } else if (char === '"') {
      const end = stringEnd(text, at);
      if (expected === "colon" || expected === "comma or end" || end < 0) {
        // What looks like the end of a string may be the beginning of the next one.
        return broken();
      }
      string = at;
      at = end;
      expected = expected === "key" || expected === "key or end" ? "colon" : "comma or end";
      continue;
    } else {
      const end = plainEnd(text, at);
      if ((expected !== "value" && expected !== "value or end") || end < 0) return broken();
      at = end;
      expected = "comma or end";
    }
    string = null;
  }
  return broken();
}

/** After the closing mark of a string; -1 where it has none, or holds what no string may. */
function stringEnd(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at + 1;
    if (code < 0x20) return -1;
    if (code !== 0x5c) continue;
    escape.lastIndex = at;
    if (!escape.test(text)) return -1;
    at = escape.lastIndex - 1;
  }
  return -1;
}

const escape = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

const plain = /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.])/uy;

/** After a number, a boolean or null; -1 where there is none. */
function plainEnd(text: string, from: number): number {
  plain.lastIndex = from;
  return plain.test(text) ? plain.lastIndex : -1;
}
