import { words } from "./words.ts";

/** Names in code whose parts are words: `retrievalEndpoint`, `HTTPServer`. */
const joinedName = /\b[A-Za-z][A-Za-z0-9]*[a-z0-9][A-Z][A-Za-z0-9]*\b/gu;
const partBorder = /(?<=[a-z0-9])(?=[A-Z])/u;

/** A text as its words are kept: folded and parted, with the parts of names in code beside the whole. */
export function indexedWords(text: string): string {
  const parts = (text.match(joinedName) ?? []).flatMap((name) => name.split(partBorder));
  return [...words(text), ...parts.map((part) => part.toLowerCase())].join(" ");
}

/** A query is rarely longer; what is, has said what it is about by then. */
const mostWords = 100;

/** A query as FTS5 takes it: any of its words; null where it has none. */
export function wordQuery(query: string): string | null {
  const all = [...new Set(words(query))];
  if (all.length === 0) return null;
  const wanted = all.filter((_, at) => at < mostWords);
  return wanted.map((word) => `"${word.replaceAll('"', '""')}"`).join(" OR ");
}
