import { join } from "node:path";
import { fail, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import type { Retrieval, Retriever } from "../../machines/contracts/ports/retriever.ts";
import { wordQuery } from "./index-words.ts";
import type { Search } from "./search-collection.ts";
import { Thread } from "./thread.ts";

/** How a collection's results are ranked: by words and vectors, or by one of them. */
export type Ranking = "hybrid" | "words" | "vectors";

export interface IndexOptions {
  /** Where the collections' files are. */
  folder: string;
  collection: string;
  /** Null for a collection that is searched by its words alone. */
  embedder: Embedder | null;
  /** `hybrid` when left out. */
  ranking?: Ranking;
}

/** Where a collection is kept. */
export const collectionPath = (folder: string, collection: string): string =>
  join(folder, `${collection}.db`);

/** What searches the collections of this machine: one thread for all of them. */
export class CollectionSearch {
  readonly #thread = new Thread<Search, Retrieval>("search-thread", "the search");

  find(search: Search, signal: AbortSignal): Promise<Outcome<Retrieval>> {
    return this.#thread.ask(search, signal);
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

/** Searches one collection of this machine. */
export function createIndexRetriever(
  search: CollectionSearch,
  { folder, collection, embedder, ranking = "hybrid" }: IndexOptions,
): Retriever {
  const path = collectionPath(folder, collection);
  return {
    async retrieve({ query, topK, filter = {} }, signal) {
      if (query.trim() === "") {
        return fail(terminal("invalid_input", "retrieval step input: the query is blank"));
      }
      let vector: Float32Array | null = null;
      if (embedder !== null && ranking !== "words") {
        // A model reads no more of a query than of a chunk.
        const embedded = await embedder.embed(
          [cutText(query.trim(), embedder.chunkCharacters)],
          signal,
        );
        if (!embedded.ok) return embedded;
        vector = embedded.value[0] ?? null;
      }
      const words = ranking === "vectors" ? null : wordQuery(query);
      const model = embedder?.model ?? null;
      return search.find({ path, collection, words, vector, model, filter, topK }, signal);
    },
  };
}
