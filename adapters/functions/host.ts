import { createHash, randomUUID } from "node:crypto";
import { stringify } from "safe-stable-stringify";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { thrownBy, toJson } from "../../machines/contracts/domain/users-code.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type {
  CompiledSchema,
  SchemaChecker,
} from "../../machines/contracts/ports/schema-checker.ts";
import type {
  ToolDescription,
  ToolHost,
  ToolResult,
} from "../../machines/contracts/ports/tool-host.ts";
import { type AnyTool, type ReadSchema, type ReadTool, readTool } from "./define-tool.ts";

/** The server that a user's own tools stand under, in lists, questions and reports. */
export const functionServer = "functions";

export interface FunctionHostOptions {
  tools: readonly AnyTool[];
  /** Applies the tools' JSON Schemas. */
  schemas: SchemaChecker;
  log: Log;
}

interface Ready {
  tool: ReadTool;
  description: ToolDescription;
  input: CompiledSchema;
  output: CompiledSchema | null;
}

/**
 * A user's own tools, each a function of this process. Of one call:
 *
 *   the input does not fit its schema    `invalid_input`; the function is not called
 *   the function throws                  `tool_failed`, with its place and its words
 *   what it returns is not JSON, or      `invalid_output`: it has run, and is not run again
 *   does not fit its schema
 *   the step is aborted                  `cancelled`, at once: what the function still does is its own affair
 *
 * @throws TypeError naming the tool when one can't be used, or two have one name
 */
export function createFunctionHost({ tools, schemas, log }: FunctionHostOptions): ToolHost {
  const ready = new Map<string, Ready>();
  for (const given of tools) {
    const tool = readTool(given);
    if (typeof tool === "string") throw new TypeError(tool);
    if (ready.has(tool.name)) throw new TypeError(`two tools are called "${tool.name}"`);
    ready.set(tool.name, prepare(tool, schemas));
  }
  const find = (name: string): Outcome<Ready> => {
    const found = ready.get(name);
    if (found !== undefined) return ok(found);
    return fail(terminal("not_found", `no function is called "${name}"`));
  };
  return {
    list: async () => ok([...ready.values()].map(({ description }) => description)),
    async describe(name) {
      const prefix = `${functionServer}/`;
      const found = find(name.startsWith(prefix) ? name.slice(prefix.length) : name);
      return found.ok ? ok({ ...found.value.description, address: name }) : found;
    },
    async call(target, input, signal, idempotencyKey = randomUUID()) {
      const found = find(target.name);
      if (!found.ok) return found;
      if (found.value.description.digest !== target.digest) {
        const changed = `the function "${target.name}" is another than the one that was allowed`;
        return fail(terminal("policy_denied", `${changed}: it was not called`));
      }
      return call(found.value, input, { signal, idempotencyKey, log });
    },
    close: async () => {},
  };
}

function prepare(tool: ReadTool, schemas: SchemaChecker): Ready {
  const compile = (schema: JsonObject, side: string): CompiledSchema => {
    const compiled = schemas.compile(schema);
    if (typeof compiled !== "string") return compiled;
    throw new TypeError(`the tool "${tool.name}": its ${side} schema ${compiled}`);
  };
  const { name, description, readOnly, idempotent } = tool;
  const inputSchema = tool.input.json;
  const outputSchema = tool.output?.json ?? null;
  const whole = { name, description, inputSchema, outputSchema, readOnly, idempotent };
  return {
    tool,
    input: compile(inputSchema, "input"),
    output: outputSchema === null ? null : compile(outputSchema, "output"),
    description: {
      server: functionServer,
      name,
      // All that a model is shown and a person approves by.
      digest: createHash("sha256").update(stringify(whole)).digest("hex"),
      address: name,
      description,
      inputSchema,
      outputSchema,
      safeToRepeat: readOnly || idempotent,
      readOnly,
    },
  };
}

async function call(
  { tool, input: inputSchema, output: outputSchema }: Ready,
  given: JsonObject,
  { signal, idempotencyKey, log }: { signal: AbortSignal; idempotencyKey: string; log: Log },
): Promise<Outcome<ToolResult>> {
  const what = `the function "${tool.name}"`;
  const cutShort = fail(terminal("cancelled", `${what} was cut short`));
  if (signal.aborted) return cutShort;
  const input = await check(tool.input, inputSchema, given);
  if ("problem" in input) {
    return fail(terminal("invalid_input", `input of ${what}: ${input.problem}`));
  }
  const aborted = Promise.withResolvers<typeof cutShort>();
  const onAbort = () => aborted.resolve(cutShort);
  signal.addEventListener("abort", onAbort, { once: true });
  const run = async (): Promise<Outcome<ToolResult>> => {
    let returned: unknown;
    try {
      const context = { signal, idempotencyKey, log: namedLog(log, tool.name) };
      // A copy: what is journalled and shown to people is not the function's to change.
      returned = await tool.run(structuredClone(input.value), context);
    } catch (error) {
      log.warn({ err: error, tool: tool.name }, "a function threw");
      return fail(terminal("tool_failed", thrownBy(what, error, process.cwd())));
    }
    return readOutput(tool, outputSchema, returned, what);
  };
  try {
    return await Promise.race([run(), aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

/** Nothing returned counts as null: a function that only does something has nothing to say. */
async function readOutput(
  tool: ReadTool,
  schema: CompiledSchema | null,
  returned: unknown,
  what: string,
): Promise<Outcome<ToolResult>> {
  const problem = (text: string) =>
    fail(terminal("invalid_output", `what ${what} returned ${text}`));
  const json = toJson(returned ?? null);
  if (!json.ok) return problem(`is not JSON: it ${json.problem}`);
  let content: Json = json.value;
  if (tool.output !== null && schema !== null) {
    const checked = await check(tool.output, schema, content);
    if ("problem" in checked) return problem(`breaks its schema: ${checked.problem}`);
    const converted = toJson(checked.value);
    if (!converted.ok) return problem(`is not JSON after its schema: it ${converted.problem}`);
    content = converted.value;
  }
  return ok({ server: functionServer, content });
}

/** A value by JSON Schema, and then by the library whose schema that was; what the library made of it. */
async function check(
  { validate }: ReadSchema,
  compiled: CompiledSchema,
  value: Json,
): Promise<{ value: unknown } | { problem: string }> {
  const verdict = compiled.check(value);
  if (verdict.kind === "invalid") return { problem: verdict.problem };
  if (verdict.kind === "unusable") return { problem: `its schema ${verdict.problem}` };
  if (validate === null) return { value };
  try {
    const result = await validate(structuredClone(value));
    if (result.issues === undefined) return { value: result.value };
    const said = result.issues.map(({ path = [], message }) => {
      const place = path.map((part) => String(isPart(part) ? part.key : part)).join(".");
      return place === "" ? message : `${place}: ${message}`;
    });
    return { problem: said.join("; ").slice(0, 1_000).toWellFormed() };
  } catch (error) {
    return { problem: thrownBy("its schema", error, process.cwd()) };
  }
}

const isPart = (part: unknown): part is { key: PropertyKey } => isJsonObject(part) && "key" in part;

function namedLog(log: Log, tool: string): Log {
  return {
    debug: (fields, message) => log.debug({ tool, ...fields }, message),
    info: (fields, message) => log.info({ tool, ...fields }, message),
    warn: (fields, message) => log.warn({ tool, ...fields }, message),
    error: (fields, message) => log.error({ tool, ...fields }, message),
  };
}
