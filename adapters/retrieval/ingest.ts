import { existsSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import {
  type Failure,
  fail,
  ok,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import type { Chunk } from "./chunks.ts";
import { fileFailure, openToWrite, readAbout, withFile } from "./collection-file.ts";
import { findFiles, type FoundFile, type FoundFiles, withEnd } from "./find-files.ts";
import { readBytes, readChunks } from "./read-document.ts";
import { noteBegun, noteEnded, unfinishedSince } from "./unfinished.ts";
import { removeFile, writeFile } from "./write-file.ts";

export interface IngestRequest {
  /** Of the collection's file. */
  path: string;
  collection: string;
  /** Absolute paths of files and folders. */
  roots: readonly string[];
  /** Names in results are relative to this folder. */
  base: string;
  embedder: Embedder | null;
  /** Whether what is gone from the folders stays in the collection. */
  keepsDeleted: boolean;
  onProgress?: (progress: Progress) => void;
}

export interface Progress {
  done: number;
  total: number;
  /** The file that was just finished. */
  source: string;
  chunks: number;
}

export interface Ingested {
  added: number;
  changed: number;
  unchanged: number;
  removed: number;
  /** Files of kinds that are not read. */
  passed_over: number;
  /** In the collection now. */
  chunks: number;
  failed: { source: string; problem: string }[];
}

/** Changes when the same file would be cut otherwise. */
const chunker = 1;
/** So many texts are embedded at once, of several files where they are short. */
const batch = 64;
/** Without vectors a chunk is cut to so many characters. */
const wordsBound = 1_500;

interface Read {
  file: FoundFile;
  digest: string;
  chunks: Chunk[];
  isNew: boolean;
}

/**
 * Brings a collection to the state of these files: only those are read in that changed, and what is gone from the
 * folders is removed. Each file changes in one move, so that this may be stopped anywhere. A file that can't be read is
 * named, and what was known of it stays.
 */
export async function ingest(
  request: IngestRequest,
  signal: AbortSignal,
): Promise<Outcome<Ingested>> {
  const { path, roots, base } = request;
  const found = await findFiles(roots, base);
  if (!found.ok) return found;
  const opened = withFile(path, () => openToWrite(path));
  if (!opened.ok) return opened;
  const sql = opened.value;
  try {
    return await new Ingestion(sql, request, found.value, signal).run();
  } catch (error) {
    const failure = fileFailure(error, path);
    if (failure === null) throw error;
    return fail(failure);
  } finally {
    sql.close();
  }
}

class Ingestion {
  readonly #sql: DatabaseSync;
  readonly #request: IngestRequest;
  readonly #found: FoundFiles;
  readonly #signal: AbortSignal;
  readonly #bound: number;
  readonly #fingerprint: string;
  readonly #result: Ingested;
  #done = 0;
  #waiting: Read[] = [];

  constructor(sql: DatabaseSync, request: IngestRequest, found: FoundFiles, signal: AbortSignal) {
    this.#sql = sql;
    this.#request = request;
    this.#found = found;
    this.#signal = signal;
    this.#bound = request.embedder?.chunkCharacters ?? wordsBound;
    this.#fingerprint = `${request.embedder?.model ?? "words"}/${this.#bound}/${chunker}`;
    const failed = found.unread.map(({ source, problem }) => ({ source, problem }));
    const { passedOver: passed_over } = found;
    const counts = { added: 0, changed: 0, unchanged: 0, removed: 0 };
    this.#result = { ...counts, passed_over, chunks: 0, failed };
  }

  async run(): Promise<Outcome<Ingested>> {
    noteBegun(this.#sql, this.#request.roots);
    for (const file of this.#found.files) {
      if (this.#signal.aborted) return fail(terminal("cancelled", "the ingest was cancelled"));
      const problem = await this.#read(file);
      if (problem !== null) this.#finish(file, 0, problem);
      const ready = this.#waiting.reduce((sum, { chunks }) => sum + chunks.length, 0);
      const failure = ready >= batch ? await this.#write() : null;
      if (failure !== null) return fail(failure);
    }
    const failure = await this.#write();
    if (failure !== null) return fail(failure);
    if (!this.#request.keepsDeleted) this.#removeGone();
    noteEnded(this.#sql, this.#request.roots);
    const [{ n = 0 } = {}] = this.#sql.prepare("SELECT count(*) AS n FROM chunks").all();
    return ok({ ...this.#result, chunks: Number(n) });
  }

  /** Reads a file that changed; what is wrong with it, or null. */
  async #read(file: FoundFile): Promise<string | null> {
    const known = this.#sql
      .prepare("SELECT path, digest, fingerprint FROM files WHERE source = ?")
      .get(file.source);
    const other = known === undefined ? file.path : String(known["path"]);
    if (other !== file.path && existsSync(other)) return `${other} has this name already`;
    const content = await readBytes(file.path);
    if (!content.ok) return content.failure.message;
    const { bytes, digest } = content.value;
    if (known?.["digest"] === digest && known["fingerprint"] === this.#fingerprint) {
      this.#result.unchanged += 1;
      this.#finish(file, 0, null);
      return null;
    }
    const chunks = await readChunks(bytes, file.kind, this.#bound);
    if (!chunks.ok) return chunks.failure.message;
    if (file.kind === "pdf" && chunks.value.length === 0) return "it has no text: a scan, perhaps";
    this.#waiting.push({ file, digest, chunks: chunks.value, isNew: known === undefined });
    return null;
  }

  #finish({ source }: FoundFile, chunks: number, problem: string | null): void {
    this.#done += 1;
    if (problem !== null) this.#result.failed.push({ source, problem });
    const { length: total } = this.#found.files;
    this.#request.onProgress?.({ done: this.#done, total, source, chunks });
  }

  /** Embeds and writes what was read. */
  async #write(): Promise<Failure | null> {
    const { embedder } = this.#request;
    const reads = this.#waiting.splice(0);
    for (let from = 0; from < reads.length;) {
      // As many files as make a batch; a long one by itself, in several.
      let to = from + 1;
      let size = reads[from]?.chunks.length ?? 0;
      for (; to < reads.length && size + (reads[to]?.chunks.length ?? 0) <= batch; to += 1) {
        size += reads[to]?.chunks.length ?? 0;
      }
      const some = reads.slice(from, to);
      const texts = some.flatMap(({ chunks }) => chunks.map(embeddedText));
      const vectors = embedder === null ? ok(null) : await this.#embed(embedder, texts);
      if (!vectors.ok) return vectors.failure;
      let at = 0;
      for (const { file, digest, chunks, isNew } of some) {
        const own = vectors.value?.slice(at, at + chunks.length) ?? null;
        at += chunks.length;
        const model = embedder?.model ?? null;
        const entry = { ...file, digest, fingerprint: this.#fingerprint, chunks };
        const failure = writeFile(this.#sql, entry, own, model);
        if (failure !== null) return failure;
        this.#result[isNew ? "added" : "changed"] += 1;
        this.#finish(file, chunks.length, null);
      }
      from = to;
    }
    return null;
  }

  async #embed(embedder: Embedder, texts: readonly string[]): Promise<Outcome<Float32Array[]>> {
    const vectors: Float32Array[] = [];
    for (let at = 0; at < texts.length; at += batch) {
      const made = await embedder.embed(texts.slice(at, at + batch), this.#signal);
      if (!made.ok) return made;
      vectors.push(...made.value);
    }
    return ok(vectors);
  }

  #removeGone(): void {
    const { files, folders, unread } = this.#found;
    const seen = new Set(files.map(({ source }) => source));
    const rows = this.#sql.prepare("SELECT id, source, path FROM files").all();
    const isUnder = (path: string, all: readonly string[]) =>
      all.some((folder) => path.startsWith(withEnd(folder)));
    const kept = unread.map(({ path }) => path);
    for (const row of rows) {
      const path = String(row["path"]);
      if (seen.has(String(row["source"])) || !isUnder(path, folders) || isUnder(path, kept))
        continue;
      removeFile(this.#sql, Number(row["id"]));
      this.#result.removed += 1;
    }
  }
}

/** A chunk as a model reads it: what it is about stands in the headings. */
const embeddedText = ({ headings, content }: Chunk): string =>
  headings.length === 0 ? content : `${headings.join(" > ")}\n${content}`;

/** What a collection holds; null where nothing was ingested. */
export function describeCollection(path: string, sql: DatabaseSync) {
  const [files = {}] = sql
    .prepare("SELECT count(*) AS files, coalesce(sum(chunks), 0) AS chunks FROM files")
    .all();
  const { model, dimensions, changedAt } = readAbout(sql);
  return {
    path,
    files: Number(files["files"]),
    chunks: Number(files["chunks"]),
    model,
    dimensions,
    changed_at: timeOf(changedAt),
    /** Not all of the files are in it that were to be: an ingest was interrupted, or is still at work. */
    unfinished_since: timeOf(unfinishedSince(sql)),
  };
}

const timeOf = (ms: number | null): string | null =>
  ms === null ? null : new Date(ms).toISOString();
