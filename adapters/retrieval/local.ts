import { terminal, fail, ok } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";

/**
 * Searches the documents that the step itself carries, by the `content` of each. What matches comes back best
 * first with its `score`; a document without a word of the query is not found. Equals keep their order.
 */
export function createLocalRetriever(): Retriever {
  return {
    async retrieve({ query, documents, topK }, signal) {
      if (signal.aborted) return fail(terminal("cancelled", "the retrieval was cancelled"));
      const scores = bm25(words(query), documents.map(wordsOf));
      const found = documents
        .map((document, at) => ({ ...document, score: scores[at] ?? 0 }))
        .filter(({ score }) => score > 0)
        .sort((a, b) => b.score - a.score);
      return ok({ documents: found.slice(0, topK), totalFound: found.length });
    },
  };
}

function wordsOf(document: JsonObject): string[] {
  const content = document["content"];
  return typeof content === "string" ? words(content) : [];
}

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

function countWords(texts: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const word of texts) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

const segmenter = new Intl.Segmenter("en", { granularity: "word" });

/**
 * The words of a text as they are compared: Unicode's word boundaries (which also part scripts that write no
 * spaces), compatibility forms made one, case folded (upper, then lower: ß and SS are the same).
 */
export function words(text: string): string[] {
  const folded = text.normalize("NFKC").toUpperCase().toLowerCase();
  const parts = [...segmenter.segment(folded)].filter(({ isWordLike }) => isWordLike === true);
  // Unicode keeps `l'école` together; whoever looks for the school leaves the article out.
  return parts.flatMap(({ segment }) => segment.split(/['’]/u).filter((word) => word !== ""));
}
