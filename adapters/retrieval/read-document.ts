import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { basename, extname } from "node:path";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { wellFormedText } from "../../machines/contracts/domain/text.ts";
import { type Chunk, chunksOf, chunksOfPages, type DocumentKind } from "./chunks.ts";

/** Larger files are refused, by name: a book is a few mebibytes of text. */
const mostBytes = 32 * 1024 * 1024;

const endings: Readonly<Record<Exclude<DocumentKind, "pdf">, string>> = {
  markdown: "md markdown mdx",
  text: "txt text rst adoc asciidoc org tex csv tsv json jsonl yaml yml toml ini log html htm xml",
  code:
    "ts tsx mts cts js jsx mjs cjs py pyi go rs java kt kts scala swift c h cc cpp hpp cs rb php pl lua " +
    "sh bash zsh fish ps1 sql r jl dart ex exs erl hs clj ml vue svelte css scss proto graphql tf zig",
};
const kinds = new Map<string, DocumentKind>([
  ["pdf", "pdf"],
  ...Object.entries(endings).flatMap(([kind, names]) =>
    names.split(" ").map((name) => [name, kind as DocumentKind] as const),
  ),
]);
const plainNames =
  /^(?:readme|license|licence|notice|changelog|authors|contributing|makefile|dockerfile)$/iu;

/** What a file is, by its name; null for what is not read unless somebody names the very file. */
export function kindOf(path: string): DocumentKind | null {
  const ending = extname(path).slice(1).toLowerCase();
  if (ending === "") return plainNames.test(basename(path)) ? "text" : null;
  return kinds.get(ending) ?? null;
}

export interface FileContent {
  bytes: Buffer;
  /** SHA-256, in hexadecimal. */
  digest: string;
}

/**
 * Reads a file, and no more of it than the bound, however it grows meanwhile. A pipe or a device has no end that could be
 * waited for: it is refused, and opening it does not wait for somebody who writes.
 */
export async function readBytes(path: string): Promise<Outcome<FileContent>> {
  try {
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) {
      return fail(terminal("invalid_input", "it is not a file but a pipe, a device or a folder"));
    }
    if (stats.size > mostBytes) return tooLarge(stats.size);
    const bytes = Buffer.alloc(Math.min(stats.size, mostBytes) + 1);
    let size = 0;
    while (size < bytes.length) {
      const { bytesRead } = await file.read(bytes, size);
      if (bytesRead === 0) break;
      size += bytesRead;
    }
    if (size > stats.size) return fail(terminal("invalid_input", "it grew while it was read"));
    const content = bytes.subarray(0, size);
    return ok({ bytes: content, digest: createHash("sha256").update(content).digest("hex") });
  } catch (error) {
    const { code = "failed" } = error as NodeJS.ErrnoException;
    return fail(terminal("invalid_input", `it can't be read (${code})`));
  }
}

const tooLarge = (size: number) =>
  fail(terminal("too_large", `it has ${size} bytes; at most ${mostBytes} are read`));

/** A file's text in chunks. */
export async function readChunks(
  bytes: Buffer,
  kind: DocumentKind,
  bound: number,
): Promise<Outcome<Chunk[]>> {
  if (kind === "pdf") return readPdf(bytes, bound);
  if (bytes.subarray(0, 8_192).includes(0)) {
    return fail(terminal("invalid_input", "it is not text: it holds zero bytes"));
  }
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return ok(chunksOf(wellFormedText(text), kind, bound));
  } catch {
    return fail(terminal("invalid_input", "it is not text in UTF-8"));
  }
}

async function readPdf(bytes: Buffer, bound: number): Promise<Outcome<Chunk[]>> {
  try {
    const { extractText, getDocumentProxy } = await import("unpdf");
    // Its worker takes the buffer away from whoever gave it.
    const document = await getDocumentProxy(Uint8Array.from(bytes), { verbosity: 0 });
    try {
      const { text } = await extractText(document, { mergePages: false });
      return ok(chunksOfPages(text.map(wellFormedText), bound));
    } finally {
      await document.loadingTask.destroy();
    }
  } catch (error) {
    // An optional package: the document is not to blame.
    if (/MODULE_NOT_FOUND/u.test(String((error as NodeJS.ErrnoException).code))) {
      const message =
        "PDF can't be read without a package; install it with: npm install unpdf@1.8.1";
      return fail(terminal("unavailable", message));
    }
    const why = error instanceof Error ? error.message : String(error);
    return fail(terminal("invalid_input", `it is not a PDF that can be read: ${why}`));
  }
}
