import { join, resolve } from "node:path";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Command, Context } from "../command.ts";
import {
  baseOf,
  openCollections,
  type OwnCollection,
  sourcesOf,
} from "../compose/compose-collections.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";
import { createProgress } from "../output/progress.ts";
import { learnSecrets, secrets } from "../secrets.ts";

/** `retrieval ingest COLLECTION [PATH]`. */
export const ingestFiles: Command = (context) =>
  withCollection(context, async (collection) => {
    const { invocation, output, config, folder, stopping } = context;
    const [, path] = invocation.args;
    const base = baseOf(config, folder);
    const roots =
      path === undefined ? sourcesOf(collection.settings, base) : [resolve(folder, path)];
    if (roots.length === 0) {
      const expected = `a path, or sources under collections.${collection.name} in the configuration`;
      throw new CliError(2, `there is nothing to ingest: expected ${expected}`);
    }
    const [{ ingest }, { makeDataDir }] = await Promise.all([
      import("../../adapters/retrieval/ingest.ts"),
      import("../data-folder.ts"),
    ]);
    // What is kept are copies of documents: for this user alone, and out of everybody's repository.
    await makeDataDir(config.settings.dataDir);
    const progress = createProgress(process.stderr);
    const done = await ingest(
      {
        path: collection.path,
        collection: collection.name,
        roots,
        base,
        embedder: collection.embedder,
        keepsDeleted: invocation.flags["keep-deleted"] === true,
        ...(output.isJson
          ? {}
          : {
              onProgress: (now) => progress.show(now.done, now.total, now.source),
            }),
      },
      stopping.signal,
    );
    progress.end();
    if (!done.ok) throw failed(done.failure);
    const { failed: broken, ...counts } = done.value;
    if (output.isJson) output.json({ collection: collection.name, ...done.value });
    else {
      const { added, changed, removed, unchanged, chunks, passed_over: passed } = counts;
      const files = `${added} added, ${changed} changed, ${removed} removed, ${unchanged} unchanged`;
      output.prose(`${collection.name}: ${files}; ${chunks} chunks in all`);
      if (passed > 0) output.remark(`${passed} files of other kinds were passed over`);
      for (const { source, problem } of broken) output.remark(`${source}: ${problem}`);
    }
    return broken.length === 0 ? 0 : 1;
  });

/** `retrieval search COLLECTION QUERY`. */
export const searchCollection: Command = (context) =>
  withCollection(context, async (collection) => {
    const { invocation, output, stopping } = context;
    const [, query = ""] = invocation.args;
    const { source, kind } = invocation.flags;
    const filter = {
      ...(typeof source === "string" ? { source: [source] } : {}),
      ...(typeof kind === "string" ? { kind: [kind] } : {}),
    };
    const found = await collection.retriever.retrieve(
      { query, collection: collection.name, topK: readTopK(context), documents: [], filter },
      stopping.signal,
    );
    if (!found.ok) throw failed(found.failure);
    if (output.isJson) {
      const { documents, totalFound: total_found } = found.value;
      output.json({ collection: collection.name, query, documents, total_found });
      return 0;
    }
    if (found.value.documents.length === 0) output.remark("nothing was found");
    found.value.documents.forEach((document, at) => show(document, at, output));
    return 0;
  });

/** `retrieval collections`. */
export const listCollections: Command = (context) =>
  withCollections(context, async (all) => {
    const { output, config } = context;
    const { openToRead, withFile } = await import("../../adapters/retrieval/collection-file.ts");
    const { describeCollection } = await import("../../adapters/retrieval/ingest.ts");
    const described = all.map(({ name, path, settings }) => {
      const read = withFile(path, () => {
        const sql = openToRead(path);
        if (sql === null) return null;
        try {
          return describeCollection(path, sql);
        } finally {
          sql.close();
        }
      });
      const { embeddings = "local" } = settings;
      return { name, backend: "index", embeddings, ...stateOf(read) };
    });
    const others = Object.entries(config.settings.collections ?? {})
      .filter(([, { backend }]) => backend === "http")
      .map(([name]) => ({ name, backend: "http", embeddings: "", state: null, problem: null }));
    const shown = [...described, ...others];
    if (output.isJson) {
      output.json({
        collections: shown.map(({ state, problem, ...about }) => ({
          ...about,
          ...state,
          ...(problem === null ? {} : { problem }),
        })),
      });
    } else {
      const rows = shown.map(({ name, backend, embeddings, state, problem }) => [
        name,
        backend,
        embeddings,
        String(state?.files ?? ""),
        String(state?.chunks ?? ""),
        problem ?? lastChange(state, backend),
      ]);
      output.table(["COLLECTION", "BACKEND", "EMBEDDINGS", "FILES", "CHUNKS", "CHANGED"], rows);
    }
    return shown.some(({ problem }) => problem !== null) ? 1 : 0;
  });

function lastChange(state: Described, backend: string): string {
  if (state === null) return backend === "http" ? "" : "nothing ingested";
  const { changed_at: changed, unfinished_since: since } = state;
  const last = changed ?? "nothing ingested";
  return since === null
    ? last
    : `${last}; not whole: the ingest begun at ${since} has not come to its end, run it again`;
}

type Described = ReturnType<
  typeof import("../../adapters/retrieval/ingest.ts").describeCollection
> | null;

const stateOf = (read: { ok: true; value: Described } | { ok: false; failure: Failure }) =>
  read.ok ? { state: read.value, problem: null } : { state: null, problem: read.failure.message };

async function withCollections(
  { config, env, folder, invocation }: Context,
  work: (all: readonly OwnCollection[]) => Promise<number>,
): Promise<number> {
  learnSecrets(config.settings, env);
  if (config.settings.collections === undefined) {
    const [name = "docs", path = "docs"] =
      invocation.command === "retrieval ingest" ? invocation.args : [];
    const collections = JSON.stringify({ collections: { [name]: { sources: [path] } } });
    const { file } = config;
    const what =
      file === null
        ? `write ${collections} into ${join(folder, "stateplane.config.json")}`
        : `add ${collections.slice(1, -1)} to ${file}`;
    throw new CliError(2, plain(`no collections are configured: ${what}`));
  }
  const collections = await openCollections(config, env);
  try {
    return await work(collections.all);
  } finally {
    await collections.close();
  }
}

function withCollection(
  context: Context,
  work: (collection: OwnCollection) => Promise<number>,
): Promise<number> {
  const [name = ""] = context.invocation.args;
  return withCollections(context, async (all) => {
    const found = all.find((one) => one.name === name);
    if (found !== undefined) return work(found);
    const names = all.map((one) => one.name).join(", ");
    const isOthers = context.config.settings.collections?.[name] !== undefined;
    const why = isOthers
      ? `the collection ${name} is kept by the service at retrievalEndpoint, not here`
      : `no collection ${name} is configured`;
    throw new CliError(2, `${plain(why)}: expected ${names || "one whose backend is index"}`);
  });
}

function readTopK({ invocation }: Context): number {
  const given = invocation.flags["top-k"];
  if (given === undefined) return 5;
  const number = typeof given === "string" && /^\d{1,3}$/u.test(given) ? Number(given) : 0;
  if (number >= 1 && number <= 100) return number;
  throw new CliError(2, "--top-k: expected a whole number from 1 to 100");
}

const failed = ({ kind, message, retryable }: Failure) =>
  new CliError(retryable ? 3 : kind === "cancelled" ? 1 : 2, secrets.redact(message));

function show(document: JsonObject, at: number, output: Output): void {
  const { colors } = output;
  const text = (key: string) => plain(String(document[key]));
  const position = isJsonObject(document["position"]) ? document["position"] : {};
  const page = position["page"] === undefined ? "" : `:p${String(position["page"])}`;
  const line = page === "" ? `:${String(position["line"])}` : page;
  const headings = Array.isArray(document["headings"]) ? document["headings"] : [];
  const about = headings.length === 0 ? "" : `  ${plain(headings.join(" > "))}`;
  if (at > 0) output.line("");
  const score = Number(document["score"]).toFixed(3);
  output.line(`${colors.bold(`${text("source")}${line}`)}${about}  ${colors.dim(score)}`);
  for (const part of String(document["content"]).split("\n")) output.line(`  ${plain(part)}`);
}
