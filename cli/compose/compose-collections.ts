import { dirname, join, resolve } from "node:path";
import type { RuntimePorts } from "../../actors/ports.ts";
import {
  CollectionSearch,
  collectionPath,
  createIndexRetriever,
} from "../../adapters/retrieval/index-retriever.ts";
import { createLocalEmbedder } from "../../adapters/retrieval/local-model.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Embedder } from "../../machines/contracts/ports/embedder.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { Config } from "../config/load-config.ts";
import type { CollectionSettings } from "../config/named-settings.ts";
import type { Settings } from "../config/settings.ts";
import { providersOf } from "./compose-models.ts";

type Env = Readonly<Record<string, string | undefined>>;

/** A collection that this machine keeps. */
export interface OwnCollection {
  name: string;
  /** Of its file. */
  path: string;
  settings: CollectionSettings;
  /** Null where it is searched by words alone. */
  embedder: Embedder | null;
  retriever: Retriever;
}

export interface OwnCollections {
  all: readonly OwnCollection[];
  close(): Promise<void>;
}

/** Where the collections' files are. */
export const collectionsFolder = ({ dataDir }: Pick<Settings, "dataDir">): string =>
  join(dataDir, "collections");

/** The folder that paths of sources, and names in results, are relative to. */
export const baseOf = ({ file }: Pick<Config, "file">, folder: string): string =>
  file === null ? folder : dirname(file);

/** What a collection is made of, as absolute paths. */
export const sourcesOf = ({ sources = [] }: CollectionSettings, base: string): string[] =>
  sources.map((source) => resolve(base, source));

/**
 * The collections that the settings have this machine keep. Nothing is opened or loaded before it is used.
 *
 * @throws InvalidSetting for embeddings that nobody can make
 */
export async function openCollections(
  { settings, sources }: Pick<Config, "settings" | "sources">,
  env: Env,
): Promise<OwnCollections> {
  const search = new CollectionSearch();
  const local = createLocalEmbedder();
  const folder = collectionsFolder(settings);
  const all: OwnCollection[] = [];
  for (const [name, collection] of Object.entries(settings.collections ?? {})) {
    if (collection.backend === "http") continue;
    const { embeddings = "local" } = collection;
    const problem = (expected: string) =>
      new InvalidSetting(`collections.${name}.embeddings`, sources.collections, expected);
    const embedder =
      embeddings === "none"
        ? null
        : embeddings === "local"
          ? local
          : await providersEmbedder(embeddings, collection, providersOf(settings, env), problem);
    const retriever = createIndexRetriever(search, { folder, collection: name, embedder });
    const path = collectionPath(folder, name);
    all.push({ name, path, settings: collection, embedder, retriever });
  }
  const close = async () => void (await Promise.all([search.close(), local.close()]));
  return { all, close };
}

async function providersEmbedder(
  embeddings: string,
  { dimensions }: CollectionSettings,
  providers: ReturnType<typeof providersOf>,
  problem: (expected: string) => InvalidSetting,
): Promise<Embedder> {
  const slash = embeddings.indexOf("/");
  const model = embeddings.slice(slash + 1);
  if (slash <= 0 || model === "") {
    throw problem("local, none, or provider/model, such as openai/text-embedding-3-small");
  }
  const name = embeddings.slice(0, slash);
  const provider = providers.find((one) => one.name === name);
  if (provider === undefined) throw problem(`a provider that is configured, or has its key set`);
  if (provider.kind === "anthropic") throw problem("a provider that speaks OpenAI's API");
  const { createOpenaiEmbedder } = await import("../../adapters/llm/openai-embeddings.ts");
  return createOpenaiEmbedder({
    provider,
    model,
    ...(dimensions === undefined ? {} : { dimensions }),
  });
}

/** All that a step may name; undefined where nothing is configured. */
export function namedCollections(
  { collections }: Settings,
  { all }: OwnCollections,
  http: Retriever | null,
  sources: Config["sources"],
): RuntimePorts["retrievers"]["collections"] {
  if (collections === undefined) return undefined;
  const named = new Map<string, { backend: "index" | "http"; retriever: Retriever }>();
  for (const { name, retriever } of all) named.set(name, { backend: "index", retriever });
  for (const [name, { backend }] of Object.entries(collections)) {
    if (backend !== "http") continue;
    const expected = "RETRIEVAL_ENDPOINT to be set, because the collection's backend is http";
    if (http === null)
      throw new InvalidSetting(`collections.${name}`, sources.collections, expected);
    named.set(name, { backend, retriever: http });
  }
  return named;
}
