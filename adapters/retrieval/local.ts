import { setImmediate as nextTurn } from "node:timers/promises";
import { type Failure, terminal, fail, ok } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { RetrievalRequest, Retriever } from "../../machines/contracts/ports/retriever.ts";
import { words } from "./words.ts";

/** What one step may carry to be searched. Characters are UTF-16 units. */
const most = { documents: 10_000, characters: 4 * 1024 * 1024, queryCharacters: 64 * 1024 };
/** After this many characters, of one text or of many, the event loop gets a turn; a longer text is read in pieces. */
const pieceLength = 8 * 1024;
/** What reading a document costs however short it is, in characters. */
const documentCost = 16;

/**
 * Searches the documents that the step itself carries, by the `content` of each. What matches comes back best
 * first with its `score`; a document without a word of the query is not found. Equals keep their order. Documents without
 * content are passed over, and counted.
 *
 * The work grows with the length of the texts alone, and never holds the event loop for more than one piece. It is
 * code of ours because the libraries that rank so build an index first, which a step would use once and throw away.
 */
export function createLocalRetriever(): Retriever {
  return {
    async retrieve(request, signal) {
      if (signal.aborted) return fail(terminal("cancelled", "the retrieval was cancelled"));
      const problem = tooMuch(request);
      if (problem !== null) return fail(problem);
      const { query, documents, topK } = request;
      const pace = new Pace();
      const terms = [...(await countWords(query, null, pace, signal)).counts.keys()];
      const wanted = new Set(terms);
      const counted: Counted[] = [];
      for (const document of documents) {
        counted.push(await countWords(textOf(document), wanted, pace, signal));
      }
      if (signal.aborted) return fail(terminal("cancelled", "the retrieval was cancelled"));
      const scores = bm25(terms, counted);
      const found = documents
        .map((document, at) => ({ ...document, score: scores[at] ?? 0 }))
        .filter(({ score }) => score > 0)
        .sort((a, b) => b.score - a.score);
      const passedOver = documents.filter((document) => textOf(document).trim() === "").length;
      return ok({ documents: found.slice(0, topK), totalFound: found.length, passedOver });
    },
  };
}

function tooMuch({ query, documents }: RetrievalRequest): Failure | null {
  const refuse = (what: string, limit: number, unit: string) =>
    terminal(
      "invalid_input",
      `retrieval step input: ${what}; at most ${limit} ${unit} are searched`,
    );
  if (query.length > most.queryCharacters) {
    return refuse(`the query has ${query.length} characters`, most.queryCharacters, "characters");
  }
  if (documents.length > most.documents) {
    return refuse(`there are ${documents.length} documents`, most.documents, "documents");
  }
  const characters = documents.reduce((sum, document) => sum + textOf(document).length, 0);
  return characters > most.characters
    ? refuse(`the documents have ${characters} characters`, most.characters, "characters")
    : null;
}

function textOf(document: JsonObject): string {
  const content = document["content"];
  return typeof content === "string" ? content : "";
}

interface Counted {
  /** How often each word of interest stands in the text. */
  counts: Map<string, number>;
  /** Words in all. */
  length: number;
}

/** Counts what was read since the loop's last turn. */
class Pace {
  #since = 0;

  /** Null where there is nothing to wait for. */
  read(characters: number): Promise<void> | null {
    this.#since += characters;
    if (this.#since < pieceLength) return null;
    this.#since = 0;
    return nextTurn();
  }
}

/** @param wanted the words of interest; null for all */
async function countWords(
  text: string,
  wanted: ReadonlySet<string> | null,
  pace: Pace,
  signal: AbortSignal,
): Promise<Counted> {
  const counts = new Map<string, number>();
  let length = 0;
  const turn = pace.read(documentCost);
  if (turn !== null) await turn;
  for (let at = 0; at < text.length && !signal.aborted;) {
    const end = endOfPiece(text, at);
    for (const word of words(text.slice(at, end))) {
      length += 1;
      if (wanted?.has(word) ?? true) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
    const next = pace.read(end - at);
    if (next !== null) await next;
    at = end;
  }
  return { counts, length };
}

/** Where a piece ends: at a space where there is one nearby, never inside a character. */
function endOfPiece(text: string, from: number): number {
  const end = from + pieceLength;
  if (end >= text.length) return text.length;
  const space = text.lastIndexOf(" ", end);
  if (space > end - 256) return space + 1;
  return (text.codePointAt(end - 1) ?? 0) > 0xffff ? end - 1 : end;
}

/** How soon a repeated word stops counting, and how much a long document is held against itself. */
const saturation = 1.2;
const lengthWeight = 0.75;

/**
 * Okapi BM25 with the inverse document frequency that never turns negative (Lucene's): one score a document,
 * 0 without a common word, rounded to six places. A word counts once however often the query has it.
 */
function bm25(terms: readonly string[], documents: readonly Counted[]): number[] {
  const total = documents.reduce((sum, { length }) => sum + length, 0);
  const meanLength = total / documents.length;
  const having = new Map<string, number>();
  for (const { counts } of documents) {
    for (const term of counts.keys()) having.set(term, (having.get(term) ?? 0) + 1);
  }
  const weights = new Map(
    terms.map((term) => {
      const owners = having.get(term) ?? 0;
      return [term, Math.log(1 + (documents.length - owners + 0.5) / (owners + 0.5))] as const;
    }),
  );
  return documents.map(({ counts, length }) => {
    const norm = saturation * (1 - lengthWeight + (lengthWeight * length) / meanLength);
    let score = 0;
    for (const [term, count] of counts) {
      score += ((count * (saturation + 1)) / (count + norm)) * (weights.get(term) ?? 0);
    }
    return Math.round(score * 1e6) / 1e6;
  });
}
