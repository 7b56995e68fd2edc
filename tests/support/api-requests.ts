import * as fc from "fast-check";

/*
 * Requests of an API, made from its own OpenAPI document: valid ones, ones with something wrong in one place, and hostile
 * ones. Ids are not known before they are sent: `@run_id:7` stands for the seventh id that was seen of that name.
 */
export type Schema = { [key: string]: unknown };

export interface Operation {
  method: string;
  path: string;
  parameters: { in: "path" | "query" | "header"; name: string; schema: Schema }[];
  requestBody?: { content: { "application/json": { schema: Schema } } };
  responses: Record<string, { content: Record<string, { schema?: Schema }> }>;
}

export interface ApiDocument {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, Schema> };
}

export interface MadeRequest {
  operation: Operation;
  caller: number;
  /** Which of the newest jobs its run and step are those of; null for any run and any step. */
  job: number | null;
  path: Record<string, string>;
  query: [string, string][];
  headers: Record<string, string | undefined>;
  /** Null for none. */
  body: string | null;
}

export function operationsOf({ paths }: ApiDocument): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, rest]) => ({
      ...rest,
      method: method.toUpperCase(),
      path,
      // In the report of a failure.
      [fc.toStringMethod]: () => `${method.toUpperCase()} ${path}`,
    })),
  );
}

const nasty = fc.constantFrom(
  "",
  "\u0000",
  "\ud800",
  "💥",
  "__proto__",
  "constructor",
  "null",
  "../..",
  "a/b",
  "%00",
  "%zz",
  "' OR 1=1 --",
  "9007199254740993",
  "-1",
  "1e3",
  "x".repeat(300),
);
const deep = fc
  .integer({ min: 1, max: 3_000 })
  .map((depth) => "[".repeat(depth) + "]".repeat(depth));
/** JSON's text, also where JSON.stringify would write no such text. */
const hostileText = fc.oneof(
  deep,
  fc.json(),
  nasty.map((text) => JSON.stringify(text)),
  fc.constantFrom("1e400", "-0", "9007199254740993", '{"__proto__":1}', "", "{", "nul", "\ufeff{}"),
  fc.constantFrom("null", "true", "[]", "{}", "0", "-1", "0.5"),
);

const exampleId = (name: string) => fc.nat(1_000).map((nth) => `@${name}:${nth}`);

/** No client sends other characters in a header. */
const sendable = (text: string) => text.replaceAll(/[^\x20-\x7e\xa0-\xff]/g, "").trim();

export function requestsOf(document: ApiDocument, callers: number): fc.Arbitrary<MadeRequest> {
  const valid = validOf(document);
  return fc.constantFrom(...operationsOf(document)).chain((operation) => {
    const named = (where: string) => operation.parameters.filter((each) => each.in === where);
    const schema = operation.requestBody?.content["application/json"].schema;
    const isOptional = (text: fc.Arbitrary<string>) => fc.option(text, { freq: 1 });
    const pathPart = (name: string) =>
      fc.oneof({ weight: 6, arbitrary: exampleId(name) }, { weight: 1, arbitrary: nasty });
    const plain = (of: Schema) => valid(of).map(String);
    const word = fc.string({ unit: "grapheme-ascii", minLength: 3, maxLength: 40 });
    const header = fc.string({ unit: "binary", maxLength: 300 });
    return fc.record({
      operation: fc.constant(operation),
      job: fc.option(fc.nat(20), { freq: 2 }),
      // The first may do everything.
      caller: fc.oneof(
        { weight: 3, arbitrary: fc.constant(0) },
        { weight: 2, arbitrary: fc.nat(callers - 1) },
      ),
      path: fc.record(Object.fromEntries(named("path").map(({ name }) => [name, pathPart(name)]))),
      query: fc
        .tuple(
          ...named("query").map(({ name, schema: of }) =>
            isOptional(
              fc.oneof({ weight: 3, arbitrary: plain(of) }, { weight: 1, arbitrary: nasty }),
            ).map((value): [string, string] | null => (value === null ? null : [name, value])),
          ),
        )
        .map((all) => all.filter((each) => each !== null)),
      headers: fc.record(
        Object.fromEntries(
          named("header").map(({ name, schema: of }) => [
            name,
            fc
              .oneof(
                { weight: 6, arbitrary: "pattern" in of ? plain(of) : word },
                { weight: 1, arbitrary: header },
              )
              .map(sendable),
          ]),
        ),
        { requiredKeys: [] },
      ),
      body: schema === undefined ? fc.constant(null) : bodyOf(valid(schema)),
    });
  });
}

/** Half of them valid, the rest wrong in one place or as a whole. */
function bodyOf(valid: fc.Arbitrary<unknown>): fc.Arbitrary<string> {
  const near = fc
    .tuple(valid, fc.nat(), hostileText, fc.constantFrom("drop", "swap", "add"))
    .map(([body, at, text, how]) => {
      if (typeof body !== "object" || body === null || Array.isArray(body)) return text;
      const members = Object.entries(body).map(([key, part]) => [key, JSON.stringify(part)]);
      if (how === "add" || members.length === 0) members.push(["__proto__", text]);
      else if (how === "drop") members.splice(at % members.length, 1);
      else members.splice(at % members.length, 1, [members[at % members.length]?.[0] ?? "", text]);
      return `{${members.map(([key, part]) => `${JSON.stringify(key)}:${part}`).join(",")}}`;
    });
  return fc.oneof(
    { weight: 5, arbitrary: valid.map((body) => JSON.stringify(body)) },
    { weight: 4, arbitrary: near },
    { weight: 1, arbitrary: hostileText },
  );
}

/** What a schema of the document takes. */
function validOf({
  components,
}: ApiDocument): (schema: Schema, name?: string) => fc.Arbitrary<unknown> {
  const of = (schema: Schema, name = ""): fc.Arbitrary<unknown> => {
    const { $ref, anyOf, enum: choices, type, pattern } = schema;
    if (typeof $ref === "string") return of(components.schemas[$ref.split("/").at(-1) ?? ""] ?? {});
    if (Array.isArray(anyOf)) return fc.oneof(...anyOf.map((each: Schema) => of(each, name)));
    if (Array.isArray(choices)) return fc.constantFrom(...choices);
    if ("const" in schema) return fc.constant(schema["const"]);
    const number = (key: string, usual: number) =>
      typeof schema[key] === "number" ? schema[key] : usual;
    switch (type) {
      case "string": {
        if (name.endsWith("_id") || name === "agent" || name === "token")
          return fc.oneof(
            { weight: 4, arbitrary: exampleId(name === "agent" ? "agent_id" : name) },
            { weight: 1, arbitrary: fc.string({ minLength: 1 }) },
          );
        if (typeof pattern === "string") return fc.stringMatching(new RegExp(pattern));
        const minLength = number("minLength", 0);
        const maxLength = number("maxLength", 1_000);
        const tools = ["read", "write", "erase", "srv/read", "*"];
        return fc.oneof(
          fc.string({ unit: "binary", minLength, maxLength, size: "small" }),
          fc
            .constantFrom(...tools, "UTC", "tool", "helper")
            .filter((text) => text.length >= minLength),
        );
      }
      case "integer":
      case "number":
        return fc.oneof(
          fc.integer({ min: number("minimum", 0), max: Math.min(number("maximum", 1_000), 1_000) }),
          fc
            .maxSafeInteger()
            .filter((one) => one >= number("minimum", one) && one <= number("maximum", one)),
        );
      case "boolean":
        return fc.boolean();
      case "null":
        return fc.constant(null);
      case "array":
        return fc.array(of((schema["items"] ?? {}) as Schema), {
          minLength: number("minItems", 0),
          maxLength: Math.min(number("maxItems", 4), 4),
        });
      case "object": {
        const properties = Object.entries((schema["properties"] ?? {}) as Record<string, Schema>);
        if (properties.length === 0) return anyObject(name);
        const required = (schema["required"] ?? []) as string[];
        return fc.record(
          Object.fromEntries(properties.map(([key, part]) => [key, of(part, key)])),
          { requiredKeys: required },
        );
      }
      default:
        return fc.oneof(anyObject(name), fc.jsonValue({ maxDepth: 3 }));
    }
  };
  return of;
}

const definitions = fc.constantFrom<object>(
  {
    name: "w",
    version: "1.0.0",
    steps: [{ id: "one", type: "llm", config: { system_prompt: "Be kind." } }],
  },
  {
    name: "w",
    version: "1.0.0",
    steps: [{ id: "ask", type: "approval", config: { message: "Go on?" } }],
  },
);
/** Objects that some step or tool may take for its own, or none. */
const things = fc.oneof(
  fc.constantFrom<object>(
    { task: "greet" },
    { tool_name: "read", tool_input: {} },
    { name: "read", server: null, input: { path: "a" } },
    { budget: { max_tool_calls: 2 } },
  ),
  fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 3 }), { maxKeys: 4 }),
);
const anyObject = (name: string) =>
  name === "definition" ? fc.oneof(definitions, things) : things;
