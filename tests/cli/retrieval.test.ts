import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { retrievalHandler } from "../../actors/handlers/retrieval.ts";
import { defaultOptions } from "../../actors/options.ts";
import type { StepScope } from "../../actors/handlers/handler.ts";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import { namedCollections, openCollections } from "../../cli/compose/compose-collections.ts";
import { loadConfig } from "../../cli/config/load-config.ts";
import { runCli } from "../support/run-cli.ts";
import { useTemporaryFolder } from "../support/temporary-folder.ts";

const folder = useTemporaryFolder();
const config = {
  retrievalEndpoint: "http://127.0.0.1:9/search",
  collections: {
    docs: { sources: ["guide", "notes.txt"], embeddings: "none" },
    far: { backend: "http" },
  },
};
beforeAll(() => {
  mkdirSync(join(folder, "guide"));
  writeFileSync(
    join(folder, "guide/lease.md"),
    "# Lease\n\nA worker renews its \u001b[31mlease.\n",
  );
  writeFileSync(join(folder, "notes.txt"), "Fences grow with every take-over.\n");
  writeFileSync(join(folder, "stateplane.config.json"), JSON.stringify(config));
});
const cli = (...args: string[]) => runCli(args, { cwd: folder });

test("files are ingested and found by the command line, with its exit codes [retrieval.commands]", async () => {
  const first = await cli("retrieval", "ingest", "docs");
  expect(first.stdout).toBe("docs: 2 added, 0 changed, 0 removed, 0 unchanged; 2 chunks in all\n");
  expect(first).toMatchObject({ code: 0 });
  // Copies of documents are this user's alone, and in nobody's repository.
  const data = join(folder, ".stateplane");
  expect(readFileSync(join(data, ".gitignore"), "utf8")).toBe("*\n");
  for (const kept of [data, join(data, "collections"), join(data, "collections/docs.db")]) {
    expect([kept, statSync(kept).mode & 0o077]).toEqual([kept, 0]);
  }
  const found = await cli("retrieval", "search", "docs", "leases");
  expect(found.stdout).toMatch(
    /^guide\/lease\.md:3 {2}Lease {2}1\.000\n {2}A worker renews its \[?/u,
  );
  expect(found.stdout).not.toContain("\u001b");
  const json = await cli("retrieval", "search", "docs", "fence", "--json", "--top-k", "1");
  expect(JSON.parse(json.stdout)).toMatchObject({
    collection: "docs",
    documents: [{ source: "notes.txt", position: { line: 1 } }],
  });
  writeFileSync(join(folder, "guide/broken.txt"), Buffer.from([0xff, 0xfe, 0x41]));
  const broken = await cli("retrieval", "ingest", "docs", "guide");
  expect(broken).toMatchObject({ code: 1 });
  expect(broken.stderr).toContain("guide/broken.txt: it is not text in UTF-8");
  rmSync(join(folder, "guide/broken.txt"));
  const listed = await cli("retrieval", "collections", "--json");
  expect(JSON.parse(listed.stdout)).toMatchObject({
    collections: [
      { name: "docs", files: 2, chunks: 2 },
      { name: "far", backend: "http" },
    ],
  });
  for (const args of [
    ["search", "nope", "x"],
    ["ingest", "docs", "gone"],
  ]) {
    const refused = await cli("retrieval", ...args);
    expect([refused.code, refused.stdout]).toEqual([2, ""]);
  }
});

test("the hint of an ingest without a configuration holds to the letter [retrieval.commands]", async () => {
  const empty = join(folder, "empty");
  mkdirSync(join(empty, "texts"), { recursive: true });
  writeFileSync(join(empty, "texts/a.md"), "# A lease\n\nIt is renewed.\n");
  const run = (...args: string[]) => runCli(["retrieval", ...args], { cwd: empty });
  const refused = await run("ingest", "papers", "texts");
  expect(refused.code).toBe(2);
  const [, json = "", file = ""] = /write (\{.*\}) into (\S.*)$/mu.exec(refused.stderr) ?? [];
  writeFileSync(file.trim(), json);
  expect((await run("ingest", "papers")).stdout).toContain("papers: 1 added");
});

test("a step finds in a collection that is configured, and can name no other and no other backend [retrieval.configured]", async () => {
  const read = await loadConfig({ flags: {}, env: {}, folder, file: null });
  const own = await openCollections(read, {});
  const http = {
    retrieve: async () => ({ ok: true as const, value: { documents: [], totalFound: 7 } }),
  };
  const collections = namedCollections(read.settings, own, http, read.sources);
  const retrievers = {
    local: createLocalRetriever(),
    http,
    ...(collections ? { collections } : {}),
  };
  const run = async (input: object) => {
    const scope = {
      job: { input },
      screening: defaultOptions.screening,
      effect: async ({ run: work }: { run: (signal: AbortSignal) => Promise<{ ok: boolean }> }) => {
        const done = await work(new AbortController().signal);
        return done.ok ? done : { ok: false, result: { kind: "failed", ...done } };
      },
    } as unknown as StepScope;
    return retrievalHandler({ retrievers })(scope);
  };
  expect(await run({ query: "lease", collection: "docs" })).toMatchObject({
    kind: "done",
    output: { documents: [{ source: "guide/lease.md" }], collection: "docs" },
  });
  expect(await run({ query: "lease", collection: "far" })).toMatchObject({
    output: { total_found: 7 },
  });
  const failures = [
    [{ collection: "../docs" }, "not_found"],
    [{}, "not_found"],
    [{ collection: "docs", backend: "http" }, "invalid_input"],
    [{ collection: "far", backend: "index" }, "invalid_input"],
    [{ documents: [{ content: "lease" }], filter: { kind: "text" } }, "invalid_input"],
  ] as const;
  for (const [input, kind] of failures) {
    expect(await run({ query: "lease", ...input })).toMatchObject({ failure: { kind } });
  }
  await own.close();
});
