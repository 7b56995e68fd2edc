import type { Type } from "arktype";
import { ruleShape } from "../../../../machines/contracts/domain/tool-lists.ts";
import { scopeFor } from "../routes/access.ts";
import { type Answer, answerShapes, headerParameters, type Operation } from "./operation.ts";
import { registryOperations } from "./registry-operations.ts";
import { runOperations } from "./run-operations.ts";

type Schema = Record<string, unknown>;

/**
 * The OpenAPI 3.1 document of the HTTP API. Bodies are described by the very shapes that the routes read them by; what a
 * shape checks beyond JSON Schema (that a time zone exists, say) is refused with 422 all the same.
 */
export function openApi(version: string): Schema {
  const paths: Record<string, Record<string, Schema>> = {};
  for (const [route, operation] of Object.entries({ ...runOperations, ...registryOperations })) {
    const [method = "", path = ""] = route.split(" ");
    (paths[path] ??= {})[method.toLowerCase()] = describe(method, path, operation);
  }
  const shapes = Object.entries(answerShapes).map(([name, shape]) => [name, schemaOf(shape)]);
  return {
    openapi: "3.1.0",
    info: {
      title: "Stateplane's control plane",
      version,
      description: "FerrumDeck's HTTP API, with what goes beyond it.",
    },
    paths,
    components: {
      schemas: { ...Object.fromEntries(shapes), ToolRule: schemaOf(ruleShape()) },
      securitySchemes: {
        key: { type: "http", scheme: "bearer", description: "The scopes are those of the key." },
      },
    },
  };
}

function describe(method: string, path: string, operation: Operation): Schema {
  const { summary, query = [], headers = [], body, answers, refuses } = operation;
  const isOpen = !path.startsWith("/v1/");
  const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  const parameters = [
    ...names.map((name) => ({ in: "path", name, required: true, schema: { type: "string" } })),
    ...query.map((each) => ({ in: "query", ...each })),
    ...headers.map((name) => ({ in: "header", name, schema: headerParameters[name] })),
  ];
  const refused = [...(isOpen ? [] : [401, 403, 429, 503]), ...refuses];
  return {
    summary,
    operationId: `${method.toLowerCase()}${path.replaceAll(/\W+/g, "_")}`,
    parameters,
    ...(body !== undefined && {
      requestBody: { required: true, content: { "application/json": { schema: schemaOf(body) } } },
    }),
    responses: Object.fromEntries([
      ...Object.entries(answers).map(([status, answer]) => [
        status,
        { description: "The answer.", content: contentOf(answer) },
      ]),
      ...refused.map((status) => [
        status,
        { description: "Refused; the message says why.", content: contentOf("Error") },
      ]),
    ]),
    security: isOpen ? [] : [{ key: [scopeFor(method, path)] }],
  };
}

function contentOf(answer: Answer): Schema {
  if (typeof answer === "string") return { "application/json": { schema: reference(answer) } };
  if ("media" in answer) return { [answer.media]: {} };
  return { "application/json": { schema: { type: "array", items: reference(answer[0]) } } };
}

const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/** What can't be said in JSON Schema is left out: then the schema takes more than the shape does, and never less. */
function schemaOf(shape: Pick<Type, "toJsonSchema">): Schema {
  const schema = shape.toJsonSchema({ dialect: null, fallback: { default: ({ base }) => base } });
  return withRules(schema) as Schema;
}

/** Entries of policies are read by a shape of their own, for the sake of its message. */
function withRules(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withRules);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).map(([name, part]) => [
      name,
      name === "tools" && isListOfAnything(part)
        ? { ...part, items: reference("ToolRule") }
        : withRules(part),
    ]),
  );
}

const isListOfAnything = (part: unknown): part is { items: object } =>
  typeof part === "object" &&
  part !== null &&
  "items" in part &&
  typeof part.items === "object" &&
  part.items !== null &&
  Object.keys(part.items).length === 0;
