/** Where something was found in a text: UTF-16 units from `start` up to `end`. */
export interface Span {
  start: number;
  end: number;
  /** What was found there: `github-token`, `email`. */
  kind: string;
}

/** Most texts have none: they share this list. */
export const noSpans: readonly Span[] = [];

export const redacted = "[redacted]";

/** The text with each span replaced; those that overlap are one. */
export function hideSpans(text: string, spans: readonly Span[]): string {
  if (spans.length === 0) return text;
  const parts: string[] = [];
  let from = 0;
  for (const { start, end } of mergeSpans(spans)) {
    parts.push(text.slice(from, isEscaped(text, start) ? start + 1 : start), redacted);
    from = end;
  }
  parts.push(text.slice(from));
  return parts.join("");
}

/** The letter of an escape such as `\n` stays with its backslash: JSON in a text is to be JSON afterwards. */
const isEscaped = (text: string, at: number): boolean =>
  text[at - 1] === "\\" && "bfnrt".includes(text[at] ?? "-");

/** In order, and apart: of those that overlap, the kind of the first one is kept. */
export function mergeSpans(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of [...spans].sort((a, b) => a.start - b.start || b.end - a.end)) {
    const last = merged.at(-1);
    if (last !== undefined && span.start < last.end) last.end = Math.max(last.end, span.end);
    else merged.push({ ...span });
  }
  return merged;
}

/**
 * One form of what is looked for. A form is tried where one of its anchors stands and must take time in proportion to
 * what it reads: what a try reads it also takes (`next`), or it is bounded.
 */
export interface Form {
  kind: string;
  /** Lower case; without one of them the form is nowhere. */
  anchors: readonly string[];
  /** @param at where the anchor stands */
  find(text: string, at: number): Found | null;
  /** The same for one text, where what was read at one place is to be known at the next ones. */
  fresh?(): Form["find"];
}

export interface Found {
  /** Null where what was read turned out to be harmless. Several have a kind of their own. */
  span: Pick<Span, "start" | "end"> | readonly Span[] | null;
  /** Where the form may be looked for again. */
  next: number;
}

/** Matches a pattern exactly at a place. The pattern has the flag `y`. */
export function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}
