import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  CollectionSearch,
  collectionPath,
  createIndexRetriever,
  type Ranking,
} from "../../adapters/retrieval/index-retriever.ts";
import { ingest } from "../../adapters/retrieval/ingest.ts";
import { createLocalEmbedder } from "../../adapters/retrieval/local-model.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { table } from "./figures.ts";

/** A question in the words of somebody who does not know the docs, and the sections that answer it. */
interface Question {
  question: string;
  answers: { source: string; heading: string }[];
}

export interface RetrievalFigures {
  questions: number;
  chunks: number;
  ingestMs: number;
  /** Of one search, its query's embedding included. */
  searchMs: number;
  /** Shares of the questions whose section is the first of those found, or one of the first five. */
  recall: Record<Ranking, { at1: number; at5: number }>;
}

const root = join(import.meta.dirname, "../..");
export const readQuestions = (): Question[] =>
  readFileSync(join(import.meta.dirname, "datasets/retrieval-docs.jsonl"), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Question);

/** The place of the first section that answers among those found, from 0; -1 where none does. */
export function placeOf({ answers }: Question, found: readonly JsonObject[]): number {
  const sections: string[] = [];
  for (const { source, headings } of found) {
    const own = JSON.stringify([source, headings]);
    if (!sections.includes(own)) sections.push(own);
  }
  return sections.findIndex((section) => {
    const [source, headings] = JSON.parse(section) as [string, string[]];
    return answers.some((one) => one.source === source && headings.at(-1) === one.heading);
  });
}

/** Ingests the project's own docs and asks what the dataset asks, by words, by vectors and by both. */
export async function benchRetrieval(note: (line: string) => void): Promise<RetrievalFigures> {
  const folder = await mkdtemp(join(tmpdir(), "stateplane-retrieval-"));
  const embedder = createLocalEmbedder();
  const search = new CollectionSearch();
  const { signal } = new AbortController();
  const [collection, base] = ["docs", join(root, "docs")];
  try {
    const path = collectionPath(folder, collection);
    const request = { path, collection, roots: [base], base, embedder, keepsDeleted: false };
    const begun = performance.now();
    const done = await ingest(request, signal);
    if (!done.ok) throw new Error(done.failure.message);
    const ingestMs = performance.now() - begun;
    note(`${done.value.chunks} chunks in ${(ingestMs / 1_000).toFixed(0)} s`);
    const questions = readQuestions();
    const recall = {} as RetrievalFigures["recall"];
    let searchMs = 0;
    for (const ranking of ["words", "vectors", "hybrid"] as const) {
      const retriever = createIndexRetriever(search, { folder, collection, embedder, ranking });
      const places: number[] = [];
      const from = performance.now();
      for (const asked of questions) {
        const query = { query: asked.question, collection, topK: 20, documents: [] };
        const found = await retriever.retrieve(query, signal);
        if (!found.ok) throw new Error(found.failure.message);
        places.push(placeOf(asked, found.value.documents));
      }
      searchMs = (performance.now() - from) / questions.length;
      const share = (most: number) =>
        places.filter((place) => place >= 0 && place < most).length / places.length;
      recall[ranking] = { at1: share(1), at5: share(5) };
    }
    return { questions: questions.length, chunks: done.value.chunks, ingestMs, searchMs, recall };
  } finally {
    await Promise.all([search.close(), embedder.close()]);
    await rm(folder, { recursive: true });
  }
}

export function retrievalTable({ questions, chunks, searchMs, recall }: RetrievalFigures): string {
  const names = { words: "words (BM25)", vectors: "vectors, exactly", hybrid: "hybrid" };
  const rows = (Object.keys(names) as Ranking[]).map((ranking) => {
    const { at1, at5 } = recall[ranking];
    return [names[ranking], at1.toFixed(2), at5.toFixed(2)];
  });
  return [
    `the right section of docs/ for ${questions} questions, among ${chunks} chunks`,
    table(["", "recall@1", "recall@5"], rows),
    `a hybrid search takes ${searchMs.toFixed(0)} ms`,
  ].join("\n");
}
