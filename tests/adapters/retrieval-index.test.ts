import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { openToRead, withFile } from "../../adapters/retrieval/collection-file.ts";
import {
  CollectionSearch,
  collectionPath,
  createIndexRetriever,
} from "../../adapters/retrieval/index-retriever.ts";
import { ingest, type IngestRequest } from "../../adapters/retrieval/ingest.ts";
import { createLocalEmbedder } from "../../adapters/retrieval/local-model.ts";
import { ok } from "../../machines/contracts/domain/failure.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import type { RetrievalFilter } from "../../machines/contracts/ports/retriever.ts";
import { placeOf, readQuestions } from "../bench/retrieval.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const never = new AbortController().signal;
const folder = useTemporaryFolder();
const search = new CollectionSearch();
const local = createLocalEmbedder();
afterAll(() => Promise.all([search.close(), local.close()]));

let made = 0;
/** A project of its own with a collection over these files. */
function project(files: Record<string, string | Uint8Array>, embedder: Embedder | null = null) {
  made += 1;
  const base = join(folder, `p${made}`);
  const collection = "docs";
  const path = collectionPath(join(base, ".state"), collection);
  const write = (name: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(base, name)), { recursive: true });
    writeFileSync(join(base, name), content);
  };
  for (const [name, content] of Object.entries(files)) write(name, content);
  const request = { path, collection, roots: [base], base, embedder, keepsDeleted: false };
  const retriever = createIndexRetriever(search, { folder: dirname(path), collection, embedder });
  return {
    base,
    path,
    write,
    remove: (name: string) => rmSync(join(base, name)),
    ingest: (more: Partial<IngestRequest> = {}) => ingest({ ...request, ...more }, never),
    find: (query: string, filter: RetrievalFilter = {}, topK = 5) =>
      retriever.retrieve({ query, collection, topK, documents: [], filter }, never),
    async sources(query: string, filter: RetrievalFilter = {}, topK = 5) {
      const found = await this.find(query, filter, topK);
      if (!found.ok) throw new Error(found.failure.message);
      return found.value.documents.map(({ source }) => source);
    },
  };
}

describe("a collection of this machine", () => {
  test("that was emptied may be filled by another model, and a name that is not UTF-8 is told [retrieval.incremental]", async () => {
    const of = (model: string, dimensions: number): Embedder => ({
      model,
      chunkCharacters: 500,
      embed: async (texts) =>
        ok(
          texts.map(() => Float32Array.from({ length: dimensions }, (_, at) => (at === 0 ? 1 : 0))),
        ),
      close: async () => {},
    });
    const old = of("a/old", 3);
    const docs = project({ "a.md": "# One\n\nA lease.\n" }, of("a/new", 2));
    await docs.ingest({ embedder: old });
    expect(await docs.find("lease")).toMatchObject({ ok: false });
    docs.remove("a.md");
    expect(await docs.ingest({ embedder: old })).toMatchObject({ value: { removed: 1 } });
    expect(await docs.sources("lease")).toEqual([]);
    expect(await docs.ingest()).toMatchObject({ ok: true });
    docs.write("b.md", "# Two\n\nA lease.\n");
    writeFileSync(Buffer.from(`${docs.base}/na\u00efve.md`, "latin1"), "# Three\n");
    expect(await docs.ingest()).toMatchObject({
      value: {
        added: 1,
        failed: [
          { source: "na\ufffdve.md", problem: expect.stringContaining("not text in UTF-8") },
        ],
      },
    });
    expect(await docs.sources("lease")).toEqual(["b.md"]);
  });

  test("finds by words and by meaning, offline, and says where [retrieval.index]", async () => {
    const docs = project(
      {
        "guide/money.md":
          "# Money\n\n## Refunds\n\nA customer gets the price returned within two weeks.\n",
        "guide/animals.md": "# Animals\n\nA puppy must be walked every morning.\n",
        "guide/errors.md": "# Errors\n\n`E_QUOTA_17` means that the disk has no room left.\n",
      },
      local,
    );
    expect(await docs.ingest()).toMatchObject({ ok: true, value: { added: 3, chunks: 3 } });
    // Not a word of this stands in the text.
    expect((await docs.sources("young dogs need exercise"))[0]).toBe("guide/animals.md");
    // And this says nothing to a model.
    expect((await docs.sources("E_QUOTA_17"))[0]).toBe("guide/errors.md");
    const found = await docs.find("refund", {}, 1);
    const digest = /^[0-9a-f]{64}$/u;
    expect(found).toMatchObject({
      ok: true,
      value: {
        documents: [
          {
            id: expect.stringMatching(/^[0-9a-f]{16}$/u),
            score: 1,
            similarity: expect.any(Number),
            source: "guide/money.md",
            headings: ["Money", "Refunds"],
            position: { line: 5, end_line: 5 },
            kind: "markdown",
            digest: expect.stringMatching(digest),
            content: "A customer gets the price returned within two weeks.",
          },
        ],
      },
    });
  });

  test("finds the sections of this project's own docs that answer questions in other words [retrieval.index]", async () => {
    const names = ["inspector.md", "sandbox.md", "replay.md"];
    const base = fileURLToPath(new URL("../../docs", import.meta.url));
    const docs = project({}, local);
    const roots = names.map((name) => join(base, name));
    expect(await docs.ingest({ roots, base })).toMatchObject({ value: { added: 3 } });
    const asked = readQuestions().filter(({ answers }) =>
      answers.every(({ source }) => names.includes(source)),
    );
    expect(asked.length).toBeGreaterThan(3);
    for (const one of asked) {
      const found = await docs.find(one.question, {}, 10);
      const place = placeOf(one, found.ok ? found.value.documents : []);
      expect([one.question, place >= 0 && place < 5]).toEqual([one.question, true]);
    }
  });

  test("reads again only what changed, and forgets what is gone unless told to keep it [retrieval.incremental]", async () => {
    const docs = project({ "a.md": "alpha", "b.md": "beta", "c.txt": "gamma", "d.bin": "delta" });
    const counts = async (more: Partial<IngestRequest> = {}) => {
      const done = await docs.ingest(more);
      if (!done.ok) throw new Error(done.failure.message);
      const { added, changed, unchanged, removed } = done.value;
      return [added, changed, unchanged, removed];
    };
    expect(await counts()).toEqual([3, 0, 0, 0]);
    expect(await counts()).toEqual([0, 0, 3, 0]);
    const [before] = await docs
      .find("gamma")
      .then((found) => (found.ok ? found.value.documents : []));
    docs.write("a.md", "alpha and more");
    docs.remove("b.md");
    expect(await counts({ keepsDeleted: true })).toEqual([0, 1, 2 - 1, 0]);
    expect(await docs.sources("beta")).toEqual(["b.md"]);
    expect(await counts()).toEqual([0, 0, 2, 1]);
    expect(await docs.sources("beta")).toEqual([]);
    expect(await docs.sources("more")).toEqual(["a.md"]);
    const [after] = await docs
      .find("gamma")
      .then((found) => (found.ok ? found.value.documents : []));
    expect(after?.["id"]).toBe(before?.["id"]);
    // Only a part of the folder: what is elsewhere stays.
    expect(await counts({ roots: [join(docs.base, "a.md")] })).toEqual([0, 0, 1, 0]);
    expect(await docs.sources("gamma")).toEqual(["c.txt"]);
  });

  test("names files that can't be read, and keeps what it knew of them [retrieval.incremental]", async () => {
    const docs = project({ "a.md": "alpha", "latin.txt": "plain", "scan.pdf": "no pdf at all" });
    expect(
      await docs.ingest({ roots: [join(docs.base, "a.md"), join(docs.base, "latin.txt")] }),
    ).toMatchObject({
      value: { added: 2 },
    });
    docs.write("latin.txt", Buffer.from([0x63, 0xe9, 0x0a]));
    docs.write("zero.txt", "a\0b");
    const done = await docs.ingest();
    expect(done).toMatchObject({ ok: true, value: { unchanged: 1, removed: 0 } });
    const failed = done.ok ? done.value.failed : [];
    expect(failed.map(({ source }) => source)).toEqual(["latin.txt", "scan.pdf", "zero.txt"]);
    expect(failed[0]?.problem).toContain("UTF-8");
    expect(failed[1]?.problem).toContain("not a PDF");
    expect(await docs.sources("plain")).toEqual(["latin.txt"]);
    expect(await docs.ingest({ roots: [join(docs.base, "gone")] })).toMatchObject({
      ok: false,
      failure: { kind: "invalid_input" },
    });
    expect(await docs.sources("alpha")).toEqual(["a.md"]);
  });

  test("waits for no pipe, reads no device, and no more of a file than its bound [retrieval.incremental]", async () => {
    const docs = project({ "a.md": "alpha" });
    const pipe = join(docs.base, "pipe.md");
    execFileSync("mkfifo", [pipe]);
    const roots = [pipe, "/dev/zero", join(docs.base, "a.md")];
    const done = await docs.ingest({ roots });
    expect(done).toMatchObject({ ok: true, value: { added: 1, removed: 0 } });
    const failed = done.ok ? done.value.failed : [];
    expect(failed.map(({ problem }) => problem)).toEqual(
      Array.from({ length: 2 }, () => expect.stringContaining("a pipe, a device")),
    );
    truncateSync(join(docs.base, "a.md"), 33 * 1024 * 1024);
    const large = await docs.ingest();
    expect(large.ok && large.value.failed[0]?.problem).toContain("at most 33554432 are read");
    expect(await docs.sources("alpha")).toEqual(["a.md"]);
  });

  test("finds nothing in files without text, and does not say that they were ingested otherwise", async () => {
    const embed = async (texts: readonly string[]) =>
      ok(texts.map(() => Float32Array.from([0, 1])));
    const embedder = { model: "a/model", chunkCharacters: 600, embed, close: async () => {} };
    const docs = project({ "empty.md": "" }, embedder);
    expect(await docs.ingest()).toMatchObject({ ok: true, value: { added: 1, chunks: 0 } });
    expect(await docs.find("alpha")).toMatchObject({ ok: true, value: { documents: [] } });
    docs.write("full.md", "alpha");
    await docs.ingest();
    expect(await docs.sources("alpha")).toEqual(["full.md"]);
  });

  test("reads the pages of a PDF", async () => {
    const docs = project({
      "two.pdf": pdf(["first page about kites", "second page about whales"]),
    });
    expect(await docs.ingest()).toMatchObject({ ok: true, value: { added: 1, failed: [] } });
    expect(await docs.find("whales")).toMatchObject({
      value: { documents: [{ source: "two.pdf", kind: "pdf", position: { page: 2 } }] },
    });
  });

  test("is searched in some of its files, and for the best few", async () => {
    const docs = project({ "en/a.md": "word", "en/b.txt": "word", "de/a.md": "word" });
    await docs.ingest();
    expect(await docs.sources("word", { source: ["en/*"] })).toEqual(["en/a.md", "en/b.txt"]);
    expect(await docs.sources("word", { source: ["en/*"], kind: ["text"] })).toEqual(["en/b.txt"]);
    expect(await docs.sources("word", {}, 2)).toHaveLength(2);
    expect(await docs.sources("?!", {})).toEqual([]);
  });

  test("fails a search that can't be made, and never finds nothing instead [retrieval.index]", async () => {
    const docs = project({ "a.md": "alpha" });
    const unknown = await docs.find("alpha");
    expect(unknown).toMatchObject({ failure: { kind: "not_found", retryable: false } });
    await docs.ingest();
    const other = createIndexRetriever(search, {
      folder: dirname(docs.path),
      collection: "docs",
      embedder: {
        ...local,
        model: "other/model",
        embed: (texts, signal) => local.embed(texts, signal),
      },
    });
    const mismatched = await other.retrieve(
      { query: "alpha", collection: "docs", topK: 1, documents: [] },
      never,
    );
    expect(mismatched).toMatchObject({ failure: { kind: "unavailable", retryable: false } });
    expect(mismatched.ok ? "" : mismatched.failure.message).toContain("retrieval ingest docs");
    expect(await docs.find("  ")).toMatchObject({ failure: { kind: "invalid_input" } });
  });

  test("is searched all the same while its thread ends, because nobody asked for long", async () => {
    const one = project({ "a.md": "The lease of a step is renewed." });
    await one.ingest();
    expect(await one.sources("lease")).toEqual(["a.md"]);
    const ending = search.close();
    expect(await one.sources("lease")).toEqual(["a.md"]);
    await ending;
  });

  test("says that its file is damaged, no database or of a later layout [retrieval.file-trouble]", async () => {
    const docs = project({ "a.md": "alpha ".repeat(5_000) });
    await docs.ingest();
    const whole = readFileSync(docs.path);
    const said = async () => {
      const [found, done] = [await docs.find("alpha"), await docs.ingest()];
      return [found, done].map((one) => (one.ok ? "" : one.failure.message));
    };
    writeFileSync(docs.path, "x".repeat(5_000));
    for (const words of await said()) expect(words).toContain("is not a database");
    const torn = Buffer.from(whole);
    torn.fill(0x5a, 4_096);
    writeFileSync(docs.path, torn);
    for (const words of await said()) expect(words).toContain("is damaged");
    writeFileSync(docs.path, whole);
    const sql = new DatabaseSync(docs.path);
    sql.exec("PRAGMA user_version = 99");
    sql.close();
    for (const words of await said()) expect(words).toContain("a later version of stateplane");
  });

  test("says that its disk is full, by SQLite's own code [retrieval.file-trouble]", () => {
    const path = join(folder, "full.db");
    const full = withFile(path, () => {
      const sql = new DatabaseSync(path);
      sql.exec("PRAGMA max_page_count = 2; CREATE TABLE t (x)");
      sql.prepare("INSERT INTO t VALUES (?)").run("x".repeat(100_000));
    });
    expect(full).toMatchObject({ failure: { kind: "unavailable" } });
    expect(full.ok ? "" : full.failure.message).toContain("its disk is full");
  });

  test("is seen whole by who reads while it is written, and after the writer was killed [retrieval.whole-files]", async () => {
    const docs = project({});
    const script = fileURLToPath(new URL("../support/endless-ingest-server.ts", import.meta.url));
    for (let round = 0; round < 2; round += 1) {
      const writer = spawn(process.execPath, [script, docs.base, docs.path]);
      let said = "";
      writer.stdout.on("data", (text: Buffer) => (said += text.toString()));
      while (!said.includes("2 a.txt")) await once(writer.stdout, "data");
      for (let look = 0; look < 20; look += 1) {
        const found = await docs.find("version paragraph", {}, 100);
        expect(found.ok).toBe(true);
        expect(versions(docs.path)).toEqual(
          new Map([
            ["a.txt", 1],
            ["b.txt", 1],
            ["c.txt", 1],
          ]),
        );
      }
      writer.kill("SIGKILL");
      await once(writer, "close");
      expect([...versions(docs.path).values()]).toEqual([1, 1, 1]);
      expect((await docs.find("version paragraph", {}, 3)).ok).toBe(true);
    }
  });

  test("is not made where its folder can't be, and says so", async () => {
    const docs = project({ "a.md": "alpha", ".state": "a file where the folder should be" });
    const done = await docs.ingest();
    expect(done).toMatchObject({ ok: false, failure: { kind: "unavailable" } });
    expect(done.ok ? "" : done.failure.message).toMatch(/could not be (?:made|opened)/u);
  });
});

/** How many versions of each file's text stand in a collection, and whether as many chunks as were written. */
function versions(path: string): Map<string, number> {
  const sql = openToRead(path);
  if (sql === null) throw new Error("there is no collection");
  sql.exec("BEGIN");
  const rows = sql
    .prepare("SELECT source, content, chunks FROM chunks JOIN files ON files.id = chunks.file")
    .all();
  sql.close();
  const found = new Map<string, Set<string>>();
  const counts = new Map<string, number>();
  for (const row of rows) {
    const source = String(row["source"]);
    const own = found.get(source) ?? new Set();
    for (const [version] of String(row["content"]).matchAll(/version \d+/gu)) own.add(version);
    found.set(source, own);
    counts.set(source, (counts.get(source) ?? 0) + 1);
  }
  for (const row of rows) expect(counts.get(String(row["source"]))).toBe(row["chunks"]);
  return new Map([...found].map(([source, own]) => [source, own.size]));
}

/** A PDF of pages with a line of text each. */
function pdf(pages: readonly string[]): Uint8Array {
  const kids = pages.map((_, at) => `${4 + 2 * at} 0 R`).join(" ");
  const objects = [
    "<< /Type /Catalog /Pages 2 0 R >>",
    `<< /Type /Pages /Kids [${kids}] /Count ${pages.length} >>`,
    "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ...pages.flatMap((text, at) => {
      const stream = `BT /F1 12 Tf 72 700 Td (${text}) Tj ET`;
      return [
        `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents ${5 + 2 * at} 0 R /Resources << /Font << /F1 3 0 R >> >> >>`,
        `<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`,
      ];
    }),
  ];
  let body = "%PDF-1.4\n";
  const offsets = objects.map((object, at) => {
    const offset = body.length;
    body += `${at + 1} 0 obj\n${object}\nendobj\n`;
    return String(offset).padStart(10, "0");
  });
  const table = offsets.map((offset) => `${offset} 00000 n \n`).join("");
  const size = objects.length + 1;
  return Buffer.from(
    `${body}xref\n0 ${size}\n0000000000 65535 f \n${table}trailer\n<< /Size ${size} /Root 1 0 R >>\nstartxref\n${body.length}\n%%EOF\n`,
  );
}
