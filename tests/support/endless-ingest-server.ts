/**
 * A process that writes a folder's files over and ingests them, again and again: `version N` in each line of a file, of
 * one N. Says the name of each file as it is written. Arguments: the folder, the collection's file.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ingest } from "../../adapters/retrieval/ingest.ts";

const [folder = "", path = ""] = process.argv.slice(2);
mkdirSync(folder, { recursive: true });
for (let version = 1; ; version += 1) {
  const text = Array.from({ length: 60 }, (_, at) => `version ${version} of paragraph ${at}`);
  for (const name of ["a.txt", "b.txt", "c.txt"]) {
    writeFileSync(join(folder, name), text.join("\n\n").repeat(10));
  }
  const done = await ingest(
    {
      path,
      collection: "c",
      roots: [folder],
      base: folder,
      embedder: null,
      keepsDeleted: false,
      onProgress: ({ source }) => void process.stdout.write(`${version} ${source}\n`),
    },
    new AbortController().signal,
  );
  if (!done.ok) throw new Error(done.failure.message);
}
