import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import { Thread } from "./thread.ts";

/** The model reads 128 pieces of words, and what comes after them not at all: about so many characters of English. */
const chunkCharacters = 600;
/** What is handed to the thread at once; between two such, another question has its turn. */
const batch = 8;

/**
 * The Universal Sentence Encoder (lite), which comes in an npm package: English, 512 dimensions, without a network. It is
 * loaded when it is first asked, in a thread of its own.
 */
export function createLocalEmbedder(): Embedder {
  const thread = new Thread<string[], Float32Array[]>(
    "local-model-thread",
    "the local embedding model",
  );
  return {
    model: "local/universal-sentence-encoder-lite",
    chunkCharacters,
    async embed(texts, signal) {
      const vectors: Float32Array[] = [];
      for (let at = 0; at < texts.length; at += batch) {
        // Splitting a text into pieces of words takes the square of its length.
        const some = texts.slice(at, at + batch).map((text) => cutText(text, 2 * chunkCharacters));
        const made = await thread.ask(some, signal);
        if (!made.ok) return made;
        vectors.push(...made.value);
      }
      if (vectors.length === texts.length) return ok(vectors);
      return fail(terminal("internal", "the local embedding model left out a text"));
    },
    close: () => thread.close(),
  };
}
