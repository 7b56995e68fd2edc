import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openToRead } from "../../adapters/retrieval/collection-file.ts";
import { describeCollection, ingest } from "../../adapters/retrieval/ingest.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();

it("a collection looks unfinished after an ingest that was interrupted, until one that read as much has ended [retrieval.unfinished]", async () => {
  const base = join(folder, "docs");
  const path = join(folder, "docs.db");
  for (const name of ["a", "b"]) {
    mkdirSync(join(base, name), { recursive: true });
    writeFileSync(join(base, name, "one.md"), `# ${name}\n`);
  }
  const request = { path, collection: "docs", base, embedder: null, keepsDeleted: false };
  const read = (roots: string[], signal = new AbortController().signal) =>
    ingest({ ...request, roots }, signal);
  const state = () => {
    const sql = openToRead(path);
    if (sql === null) throw new Error("there is no collection");
    const { files, unfinished_since: since } = describeCollection(path, sql);
    sql.close();
    return [files, since !== null];
  };
  expect(await read([base], AbortSignal.abort())).toMatchObject({ failure: { kind: "cancelled" } });
  expect(state()).toEqual([0, true]);
  expect(await read([join(base, "a")])).toMatchObject({ ok: true });
  expect(state()).toEqual([1, true]);
  expect(await read([base])).toMatchObject({ ok: true });
  expect(state()).toEqual([2, false]);
});
