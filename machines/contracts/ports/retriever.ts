import type { JsonObject } from "../domain/json.ts";
import type { Outcome } from "../domain/failure.ts";

/** What may be found; globs, any of which will do. */
export interface RetrievalFilter {
  /** Of the files that the documents are from. */
  source?: readonly string[];
  kind?: readonly string[];
}

export interface RetrievalRequest {
  query: string;
  collection: string;
  topK: number;
  /** Documents carried by the step itself; only the local retriever searches them. */
  documents: JsonObject[];
  filter?: RetrievalFilter;
}

export interface Retrieval {
  documents: JsonObject[];
  totalFound: number;
  /** Documents that had no content to be searched. */
  passedOver?: number;
}

export interface Retriever {
  retrieve(request: RetrievalRequest, signal: AbortSignal): Promise<Outcome<Retrieval>>;
}
