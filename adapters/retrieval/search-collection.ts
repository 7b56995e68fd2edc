import type { DatabaseSync } from "node:sqlite";
import { matchesGlob } from "../../machines/contracts/domain/glob.ts";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import type { Retrieval, RetrievalFilter } from "../../machines/contracts/ports/retriever.ts";
import { openToRead, readAbout, withFile } from "./collection-file.ts";

/*
 * One search of a collection, in one read transaction: words by BM25 (FTS5) and meaning by the cosine of every vector,
 * exactly, which are then fused by their ranks (Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion outperforms
 * Condorcet", 2009). The vectors are kept in memory, and read anew when the file has changed.
 */

export interface Search {
  /** Of the collection's file. */
  path: string;
  /** For messages. */
  collection: string;
  /** In FTS5's own language; null to rank by vectors alone. */
  words: string | null;
  /** The query's, of length 1; null to rank by words alone. */
  vector: Float32Array | null;
  /** What made it, or null where the collection is one without vectors. */
  model: string | null;
  filter: RetrievalFilter;
  topK: number;
}

interface Vectors {
  state: string;
  /** The chunk of each, and the file of that. */
  chunks: Float64Array;
  files: Float64Array;
  values: Float32Array;
  bytes: number;
}

/** How many vectors a collection may have, and how much memory those of all collections may take together. */
export const mostVectors = { count: 100_000, bytes: 768 * 1024 * 1024 };

/** Words weigh so much more in headings and the file's name than in the text. */
const headWeight = 2;
/**
 * Of reciprocal rank fusion: how little the first places stand out (60 in the paper, for lists of thousands), and how much
 * the words weigh beside the vectors. Chosen by `npm run bench -- retrieval`.
 */
const fusion = 10;
const weights = { words: 2, vectors: 1 };
/** How far down either ranking is read. */
const depth = (topK: number) => Math.max(100, 2 * topK);

const kept = new Map<string, Vectors>();

export function searchCollection(search: Search): Outcome<Retrieval> {
  const { path, collection } = search;
  const done = withFile(path, () => {
    const sql = openToRead(path);
    if (sql === null) return notIngested(collection);
    try {
      sql.exec("BEGIN");
      return searchIn(sql, search);
    } finally {
      sql.close();
    }
  });
  return done.ok ? done.value : done;
}

const notIngested = (collection: string) =>
  fail(
    terminal(
      "not_found",
      `nothing was ingested into the collection "${collection}": run stateplane retrieval ingest ${collection}`,
    ),
  );

interface Ranked {
  n: number;
  similarity: number | null;
}

function searchIn(sql: DatabaseSync, search: Search): Outcome<Retrieval> {
  const { collection, model, vector, topK } = search;
  const about = readAbout(sql);
  if (about.changedAt === null) return notIngested(collection);
  const isEmpty = sql.prepare("SELECT 1 FROM files LIMIT 1").get() === undefined;
  if (isEmpty) return ok({ documents: [], totalFound: 0 });
  // Of files without text there are no vectors, and so no dimensions.
  const { dimensions } = about;
  const isOther = vector !== null && dimensions !== null && dimensions !== vector.length;
  if (about.model !== model || isOther) {
    const was = about.model === null ? "without vectors" : `with ${about.model}`;
    const is = model === null ? "without" : `with ${model}`;
    const message = `the collection "${collection}" was ingested ${was} (${dimensions ?? 0} dimensions), and is searched ${is} (${vector?.length ?? 0}): run stateplane retrieval ingest ${collection}`;
    return fail(terminal("unavailable", message));
  }
  const allowed = allowedFiles(sql, search.filter);
  const byWords = search.words === null ? [] : rankByWords(sql, search.words, allowed, topK);
  let byVectors: Ranked[] = [];
  if (vector !== null) {
    const vectors = vectorsOf(sql, search.path, `${about.made}:${about.revision}`, vector.length);
    if (!vectors.ok) return vectors;
    byVectors = rankByVectors(vectors.value, vector, allowed, topK);
  }
  const fused = fuse([
    { ranking: byWords, weight: weights.words },
    { ranking: byVectors, weight: weights.vectors },
  ]);
  const documents = fused.slice(0, topK).map((found) => documentOf(sql, found));
  return ok({ documents, totalFound: fused.length });
}

/** The files that the filter lets through; null for all. */
function allowedFiles(sql: DatabaseSync, { source, kind }: RetrievalFilter): Set<number> | null {
  if (source === undefined && kind === undefined) return null;
  const rows = sql.prepare("SELECT id, source, kind FROM files").all();
  const fits = (patterns: readonly string[] | undefined, text: string) =>
    patterns === undefined || patterns.some((pattern) => matchesGlob(pattern, text));
  const found = rows.filter(
    (row) => fits(source, String(row["source"])) && fits(kind, String(row["kind"])),
  );
  return new Set(found.map((row) => Number(row["id"])));
}

function rankByWords(
  sql: DatabaseSync,
  query: string,
  allowed: ReadonlySet<number> | null,
  topK: number,
): Ranked[] {
  const rows = sql
    .prepare(
      `SELECT words.rowid AS n, chunks.file FROM words JOIN chunks ON chunks.n = words.rowid
       WHERE words MATCH ? ORDER BY bm25(words, ${headWeight}, 1), words.rowid`,
    )
    .iterate(query);
  const found: Ranked[] = [];
  for (const row of rows) {
    if (allowed !== null && !allowed.has(Number(row["file"]))) continue;
    found.push({ n: Number(row["n"]), similarity: null });
    if (found.length === depth(topK)) break;
  }
  return found;
}

function vectorsOf(
  sql: DatabaseSync,
  path: string,
  state: string,
  dimensions: number,
): Outcome<Vectors> {
  const known = kept.get(path);
  kept.delete(path);
  if (known?.state === state) {
    // The one asked last stands last.
    kept.set(path, known);
    return ok(known);
  }
  const count = Number(sql.prepare("SELECT count(*) AS n FROM vectors").get()?.["n"]);
  const bytes = count * (dimensions * 4 + 16);
  if (count > mostVectors.count || bytes > mostVectors.bytes) {
    const message = `the collection has ${count} chunks of ${dimensions} dimensions; at most ${mostVectors.count}, of ${mostVectors.bytes} bytes together, are searched: make several collections of it`;
    return fail(terminal("too_large", message));
  }
  for (const [other, { bytes: others }] of kept) {
    const sum = [...kept.values()].reduce((all, one) => all + one.bytes, bytes);
    if (sum <= mostVectors.bytes || others === 0) break;
    kept.delete(other);
  }
  const vectors: Vectors = {
    state,
    bytes,
    chunks: new Float64Array(count),
    files: new Float64Array(count),
    values: new Float32Array(count * dimensions),
  };
  const rows = sql
    .prepare("SELECT vectors.n, file, vector FROM vectors JOIN chunks ON chunks.n = vectors.n")
    .iterate();
  let at = 0;
  for (const row of rows) {
    const bytesOfOne = row["vector"] as Uint8Array;
    vectors.chunks[at] = Number(row["n"]);
    vectors.files[at] = Number(row["file"]);
    // A copy: its bytes may not begin where a number may.
    vectors.values.set(new Float32Array(Uint8Array.from(bytesOfOne).buffer), at * dimensions);
    at += 1;
  }
  kept.set(path, vectors);
  return ok(vectors);
}

function rankByVectors(
  { chunks, files, values }: Vectors,
  wanted: Float32Array,
  allowed: ReadonlySet<number> | null,
  topK: number,
): Ranked[] {
  const { length: dimensions } = wanted;
  const found: { n: number; similarity: number }[] = [];
  const most = depth(topK);
  let least = 0;
  for (let at = 0; at < chunks.length; at += 1) {
    if (allowed !== null && !allowed.has(files[at] ?? 0)) continue;
    const start = at * dimensions;
    let similarity = 0;
    for (let here = 0; here < dimensions; here += 1) {
      similarity += (values[start + here] ?? 0) * (wanted[here] ?? 0);
    }
    // What is unlike the query is not found, however few there are.
    if (similarity <= least) continue;
    found.push({ n: chunks[at] ?? 0, similarity });
    if (found.length < 4 * most) continue;
    keepBest(found, most);
    least = found.at(-1)?.similarity ?? 0;
  }
  keepBest(found, most);
  return found;
}

function keepBest(found: { n: number; similarity: number }[], most: number): void {
  found.sort((a, b) => b.similarity - a.similarity || a.n - b.n);
  found.length = Math.min(found.length, most);
}

interface Fused extends Ranked {
  score: number;
}

/** By the weighted sum of 1 / (10 + rank) over both; 1 is the first place in every ranking that there is. */
function fuse(rankings: readonly { ranking: readonly Ranked[]; weight: number }[]): Fused[] {
  const all = new Map<number, Fused>();
  const used = rankings.filter(({ ranking }) => ranking.length > 0);
  const sum = used.reduce((total, { weight }) => total + weight, 0);
  for (const { ranking, weight } of used) {
    for (const [at, { n, similarity }] of ranking.entries()) {
      const before = all.get(n) ?? { n, score: 0, similarity: null };
      const score = before.score + ((weight / sum) * (fusion + 1)) / (fusion + 1 + at);
      all.set(n, { n, score, similarity: similarity ?? before.similarity });
    }
  }
  return [...all.values()].sort((a, b) => b.score - a.score || a.n - b.n);
}

function documentOf(sql: DatabaseSync, { n, score, similarity }: Fused): JsonObject {
  const row =
    sql
      .prepare(
        `SELECT chunks.id, headings, line, end_line, page, content, source, kind, digest
         FROM chunks JOIN files ON files.id = chunks.file WHERE chunks.n = ?`,
      )
      .get(n) ?? {};
  const page = row["page"];
  const headings = parseJson(String(row["headings"]));
  const lines = { line: Number(row["line"]), end_line: Number(row["end_line"]) };
  return {
    id: String(row["id"]),
    score: rounded(score),
    ...(similarity === null ? {} : { similarity: rounded(similarity) }),
    source: String(row["source"]),
    headings: headings.ok ? headings.value : [],
    position: page === null ? lines : { page: Number(page), ...lines },
    kind: String(row["kind"]),
    digest: String(row["digest"]),
    content: String(row["content"]),
  };
}

const rounded = (score: number) => Math.round(score * 1e6) / 1e6;
