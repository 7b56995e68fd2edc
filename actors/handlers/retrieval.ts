import { terminal } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { retrievalInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import type { Finding } from "../../machines/contracts/domain/screening/output-rules.ts";
import type { StepHandler, StepScope } from "./handler.ts";
import { screenIncoming } from "./incoming.ts";

/** Retrieves documents. The endpoint is the worker's own setting: a step's input cannot name one. */
export function retrievalHandler({ retrievers }: Pick<RuntimePorts, "retrievers">): StepHandler {
  return async ({ job, effect, screening }) => {
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
        const { documents, findings } = screenDocuments(retrieved.value.documents, screening);
        const said = findings.length === 0 ? {} : { screening_findings: findings };
        const { totalFound } = retrieved.value;
        return { ok: true, value: { documents, total_found: totalFound, ...said } };
      },
    });
    if (!found.ok) return found.result;
    return { kind: "done", output: { ...found.value, query: input.query, collection } };
  };
}

/** Found texts may go to a model: what reads like orders to one is told, or kept back. */
function screenDocuments(
  given: JsonObject[],
  screening: StepScope["screening"],
): { documents: JsonObject[]; findings: JsonObject[] } {
  const all: Finding[] = [];
  const documents = given.map((document, index) => {
    const { content } = document;
    if (typeof content !== "string") return document;
    const at = `/documents/${index}/content`;
    const { text, findings } = screenIncoming(content, screening, at);
    all.push(...findings);
    return text === content ? document : { ...document, content: text };
  });
  return { documents, findings: all as unknown as JsonObject[] };
}
