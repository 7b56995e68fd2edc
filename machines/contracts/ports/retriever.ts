import type { JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";

export interface RetrievalRequest {
  query: string;
  collection: string;
  topK: number;
  /** Documents carried by the step itself; only the local retriever searches them. */
  documents: JsonObject[];
}

export interface Retrieval {
  documents: JsonObject[];
  totalFound: number;
}

export interface Retriever {
  retrieve(request: RetrievalRequest, signal: AbortSignal): Promise<Outcome<Retrieval>>;
}
