import { parentPort } from "node:worker_threads";
import { type Answered, type Asked, verdictOf } from "./check-apart.ts";
import { createSchemaChecker } from "./checker.ts";

const schemas = createSchemaChecker();
parentPort?.on("message", ({ id, schema, value }: Asked) => {
  parentPort?.postMessage(
    { id, verdict: verdictOf(schemas, schema, value) } satisfies Answered,
    [],
  );
});
