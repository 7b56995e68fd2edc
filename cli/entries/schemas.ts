/** `stateplane/schemas`: JSON Schemas that others wrote, read within bounds. */
export { createSchemaChecker } from "../../adapters/schemas/checker.ts";
export { createSchemasApart } from "../../adapters/schemas/check-apart.ts";
