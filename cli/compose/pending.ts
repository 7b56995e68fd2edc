import pino from "pino";
import { terminal } from "../../machines/contracts/failure.ts";
import { fail, ok } from "../../machines/contracts/outcome.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { Log } from "../../machines/contracts/ports/log.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";

// Stands in for adapters/retrieval, adapters/artifacts and adapters/telemetry until they are in the tree.
const absent = terminal("unavailable", "not in the tree yet");
export const createLog = (options: { level: string }): Log =>
  pino({ level: options.level }, pino.destination(2));
export const createLocalRetriever = (): Retriever => ({
  retrieve: async ({ documents }) => ok({ documents, totalFound: documents.length }),
});
export const createHttpRetriever = (_: { endpoint: string }): Retriever => ({
  retrieve: async () => fail(absent),
});
export const createArtifactFolder = (_: { path: string }): ArtifactStore => ({
  put: async () => fail(absent),
  get: async () => fail(absent),
  list: async () => [],
  delete: async () => false,
});
