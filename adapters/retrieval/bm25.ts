/** How soon a repeated word stops counting, and how much a long document is held against itself. */
const saturation = 1.2;
const lengthWeight = 0.75;

/**
 * Okapi BM25 with the inverse document frequency that never turns negative (Lucene's): one score a document,
 * 0 without a common word, rounded to six places. A word counts once however often the query has it.
 */
export function bm25(
  query: readonly string[],
  documents: readonly (readonly string[])[],
): number[] {
  const terms = [...new Set(query)];
  const counts = documents.map(countWords);
  const total = documents.reduce((sum, document) => sum + document.length, 0);
  const meanLength = total / documents.length;
  const weights = terms.map((term) => {
    const having = counts.filter((count) => count.has(term)).length;
    return Math.log(1 + (documents.length - having + 0.5) / (having + 0.5));
  });
  return documents.map((document, at) => {
    const norm = saturation * (1 - lengthWeight + (lengthWeight * document.length) / meanLength);
    const score = terms.reduce((sum, term, index) => {
      const count = counts[at]?.get(term) ?? 0;
      const part = count === 0 ? 0 : (count * (saturation + 1)) / (count + norm);
      return sum + part * (weights[index] ?? 0);
    }, 0);
    return Math.round(score * 1e6) / 1e6;
  });
}

function countWords(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}
