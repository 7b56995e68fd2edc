import {
  fail,
  ok,
  type Failure,
  type Outcome,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { retrievalInput } from "../../machines/contracts/domain/step-input.ts";
import type { RetrievalFilter, Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { RuntimePorts } from "../ports.ts";
import type { Finding } from "../../machines/contracts/domain/screening/output-rules.ts";
import type { StepHandler, StepScope } from "./handler.ts";
import { screenDocument } from "./incoming.ts";

type Input = ReturnType<typeof retrievalInput>["infer"];
type Retrievers = RuntimePorts["retrievers"];

/**
 * Retrieves documents. Which backend a collection has, and where a service is, are the worker's own settings: a step's
 * input names a collection that is configured, and nothing else.
 */
export function retrievalHandler({ retrievers }: Pick<RuntimePorts, "retrievers">): StepHandler {
  return async ({ job, effect, screening }) => {
    // Checked before any handler is called, and as large as its documents: not a second time.
    const input = job.input as unknown as Input;
    const collection = input.collection ?? "default";
    const chosen = choose(retrievers, input, collection);
    if (!chosen.ok) return { kind: "failed", failure: chosen.failure };
    const filter = filterOf(input.filter);
    const request = {
      query: input.query,
      collection,
      topK: input.top_k ?? 5,
      documents: (input.documents ?? []) as JsonObject[],
      ...(filter === null ? {} : { filter }),
    };
    const found = await effect({
      name: "retrieve",
      // The step's only one: no digest of what it asks for is needed to tell it from others.
      key: "retrieve",
      input: {
        query: request.query,
        collection,
        topK: request.topK,
        ...(filter === null ? {} : { filter: filter as JsonObject }),
      },
      repeat: "free",
      run: async (signal) => {
        const retrieved = await chosen.value.retrieve(request, signal);
        if (!retrieved.ok) return retrieved;
        const { totalFound, passedOver = 0 } = retrieved.value;
        const { documents, findings } = screenDocuments(retrieved.value.documents, screening);
        const said = findings.length === 0 ? {} : { screening_findings: findings };
        const passed = passedOver === 0 ? {} : { passed_over: passedOver };
        return { ok: true, value: { documents, total_found: totalFound, ...passed, ...said } };
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
  const documents = given.map((one, index) => {
    const { document, findings } = screenDocument(one, screening, `/documents/${index}`);
    all.push(...findings);
    return document;
  });
  return { documents, findings: all as unknown as JsonObject[] };
}

function choose(
  { local, http, collections }: Retrievers,
  { backend, documents, filter }: Input,
  collection: string,
): Outcome<Retriever> {
  const wanted = backend === "httpx" ? "http" : (backend ?? null);
  if (wanted === "local" || (wanted === null && documents !== undefined)) {
    if (!filter) return ok(local);
    return refuse("invalid_input", "the documents of a step are searched without a filter");
  }
  if (collections !== undefined) {
    const found = collections.get(collection);
    if (found === undefined) {
      const names = [...collections.keys()].join(", ");
      return refuse("not_found", `no collection "${collection}" is configured; expected ${names}`);
    }
    if (wanted === null || wanted === found.backend) return ok(found.retriever);
    const has = `the collection "${collection}" is searched by ${found.backend}, not by ${wanted}`;
    return refuse("invalid_input", `retrieval step input: ${has}`);
  }
  if (wanted === "index") return refuse("not_found", "no collections are configured");
  return http === null
    ? refuse("unavailable", "no retrieval endpoint is configured (RETRIEVAL_ENDPOINT)")
    : ok(http);
}

const refuse = (kind: Failure["kind"], message: string) => fail(terminal(kind, message));

function filterOf(given: Input["filter"]): RetrievalFilter | null {
  if (!given) return null;
  const list = (one: string | string[]) => (typeof one === "string" ? [one] : one);
  const { source, kind } = given;
  return {
    ...(source === undefined ? {} : { source: list(source) }),
    ...(kind === undefined ? {} : { kind: list(kind) }),
  };
}
