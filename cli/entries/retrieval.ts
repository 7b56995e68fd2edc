/** `stateplane/retrieval`: documents from folders of this machine, or from a service. */
export { createHttpRetriever } from "../../adapters/retrieval/http.ts";
export { createLocalRetriever } from "../../adapters/retrieval/local.ts";
