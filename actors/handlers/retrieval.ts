import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { retrievalInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler } from "./handler.ts";

/** Retrieves documents. The endpoint is the worker's own setting: a step's input cannot name one. */
export function retrievalHandler({ retrievers }: Pick<RuntimePorts, "retrievers">): StepHandler {
  return async ({ job, effect }) => {
    // Checked before any handler is called, and as large as its documents: not a second time.
    const input = job.input as unknown as typeof retrievalInput.infer;
    const collection = input.collection ?? "default";
    const isLocal = input.backend === "local" || (!input.backend && input.documents !== undefined);
    const retriever = isLocal ? retrievers.local : retrievers.http;
    if (retriever === null) {
      const message = "no retrieval endpoint is configured (RETRIEVAL_ENDPOINT)";
      return { kind: "failed", failure: terminal("unavailable", message) };
    }
    const request = {
      query: input.query,
      collection,
      topK: input.top_k ?? 5,
      documents: (input.documents ?? []) as JsonObject[],
    };
    const found = await effect({
      name: "retrieve",
      input: { query: request.query, collection, topK: request.topK },
      repeat: "free",
      run: async (signal) => {
        const retrieved = await retriever.retrieve(request, signal);
        if (!retrieved.ok) return retrieved;
        const { documents, totalFound } = retrieved.value;
        return { ok: true, value: { documents, total_found: totalFound } };
      },
    });
    if (!found.ok) return found.result;
    return { kind: "done", output: { ...found.value, query: input.query, collection } };
  };
}
