import { createHash } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { type Failure, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Chunk } from "./chunks.ts";
import { atOnce, readAbout } from "./collection-file.ts";
import type { FoundFile } from "./find-files.ts";
import { indexedWords } from "./index-words.ts";
import { mostVectors } from "./search-collection.ts";

export interface Entry extends FoundFile {
  digest: string;
  /** Of the model and the way of cutting. */
  fingerprint: string;
  chunks: readonly Chunk[];
}

/**
 * Puts a file's chunks in the place of those that it had. Vectors of another model can't be compared with these: the
 * first that comes of a new model takes all others away.
 *
 * @param vectors of the chunks, in their order; null where there is no model
 * @returns why the collection can't take it
 */
export function writeFile(
  sql: DatabaseSync,
  entry: Entry,
  vectors: readonly Float32Array[] | null,
  model: string | null,
): Failure | null {
  return atOnce(sql, () => {
    const about = readAbout(sql);
    const isSame = isEmpty(sql) || about.model === model;
    const known = sql.prepare("SELECT id, chunks FROM files WHERE source = ?").get(entry.source);
    const before = isSame && !isEmpty(sql) ? about.dimensions : null;
    const dimensions = vectors?.[0]?.length ?? before;
    if (before !== null && dimensions !== before) {
      const message = `the model ${model} gave vectors of ${dimensions} dimensions, and those of the collection have ${before}: delete the collection's file and ingest it again`;
      return terminal("unavailable", message);
    }
    const kept = isSame ? countChunks(sql) - Number(known?.["chunks"] ?? 0) : 0;
    const problem = tooMuch(kept + entry.chunks.length, dimensions);
    if (problem !== null) return problem;
    if (!isSame) removeAll(sql);
    else if (known !== undefined) removeRows(sql, Number(known["id"]));
    insertRows(sql, entry, vectors);
    sql
      .prepare(
        "UPDATE about SET revision = revision + 1, model = ?, dimensions = ?, changed_at = ?",
      )
      .run(model, dimensions, Date.now());
    return null;
  });
}

/** Takes a file and its chunks away. */
export function removeFile(sql: DatabaseSync, id: number): void {
  atOnce(sql, () => {
    removeRows(sql, id);
    sql.prepare("UPDATE about SET revision = revision + 1, changed_at = ?").run(Date.now());
    // Without files there are no vectors, of no model: the next may be made by another.
    if (isEmpty(sql)) sql.exec("UPDATE about SET model = NULL, dimensions = NULL");
  });
}

function removeRows(sql: DatabaseSync, file: number): void {
  for (const statement of [
    "DELETE FROM words WHERE rowid IN (SELECT n FROM chunks WHERE file = ?)",
    "DELETE FROM vectors WHERE n IN (SELECT n FROM chunks WHERE file = ?)",
    "DELETE FROM chunks WHERE file = ?",
    "DELETE FROM files WHERE id = ?",
  ]) {
    sql.prepare(statement).run(file);
  }
}

function removeAll(sql: DatabaseSync): void {
  for (const table of ["words", "vectors", "chunks", "files"]) sql.exec(`DELETE FROM ${table}`);
}

function insertRows(
  sql: DatabaseSync,
  { source, path, kind, digest, fingerprint, chunks }: Entry,
  vectors: readonly Float32Array[] | null,
): void {
  const file = sql
    .prepare(
      "INSERT INTO files (source, path, kind, digest, fingerprint, chunks) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .run(source, path, kind, digest, fingerprint, chunks.length).lastInsertRowid;
  const chunk = sql.prepare(
    "INSERT INTO chunks (id, file, headings, line, end_line, page, content) VALUES (?, ?, ?, ?, ?, ?, ?)",
  );
  const words = sql.prepare("INSERT INTO words (rowid, head, body) VALUES (?, ?, ?)");
  const vector = sql.prepare("INSERT INTO vectors (n, vector) VALUES (?, ?)");
  const seen = new Map<string, number>();
  for (const [at, { headings, line, endLine, page = null, content }] of chunks.entries()) {
    const written = JSON.stringify(headings);
    // The same words twice in a file are two chunks.
    const told = JSON.stringify([source, headings, content]);
    const times = (seen.get(told) ?? 0) + 1;
    seen.set(told, times);
    const id = createHash("sha256").update(`${times} ${told}`).digest("hex").slice(0, 16);
    const n = chunk.run(id, file, written, line, endLine, page, content).lastInsertRowid;
    words.run(n, indexedWords([source, ...headings].join(" ")), indexedWords(content));
    const own = vectors?.[at];
    if (own === undefined) continue;
    vector.run(n, new Uint8Array(own.buffer, own.byteOffset, own.byteLength));
  }
}

/** Whether it holds no file. */
const isEmpty = (sql: DatabaseSync): boolean =>
  sql.prepare("SELECT 1 FROM files LIMIT 1").get() === undefined;

function countChunks(sql: DatabaseSync): number {
  return Number(sql.prepare("SELECT count(*) AS n FROM chunks").get()?.["n"]);
}

function tooMuch(count: number, dimensions: number | null): Failure | null {
  const bytes = count * ((dimensions ?? 0) * 4 + 16);
  if (count <= mostVectors.count && bytes <= mostVectors.bytes) return null;
  const message = `the collection would have ${count} chunks of ${dimensions ?? 0} dimensions; at most ${mostVectors.count}, whose vectors take at most ${mostVectors.bytes} bytes, are searched: ingest less, or make several collections of it`;
  return terminal("too_large", message);
}
