import { terminal } from "../../machines/contracts/failure.ts";
import type { JsonObject } from "../../machines/contracts/json.ts";
import { fail, ok } from "../../machines/contracts/outcome.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import { bm25 } from "./bm25.ts";
import { words } from "./words.ts";

/**
 * Searches the documents that the step itself carries, by the `content` of each. What matches comes back best
 * first with its `score`; a document without a word of the query is not found. Equals keep their order.
 */
export function createLocalRetriever(): Retriever {
  return {
    async retrieve({ query, documents, topK }, signal) {
      if (signal.aborted) return fail(terminal("cancelled", "the retrieval was called off"));
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
