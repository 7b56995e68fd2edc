/** `stateplane/retrieval`: documents from collections of this machine, from a service, or from the step itself. */
export { createHttpRetriever } from "../../adapters/retrieval/http.ts";
export { createLocalRetriever } from "../../adapters/retrieval/local.ts";
