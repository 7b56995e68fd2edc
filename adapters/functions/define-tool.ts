import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { messageOf, nameOf, toJson } from "../../machines/contracts/domain/users-code.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";

/** What Standard Schema says of a value: <https://standardschema.dev>. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | {
      readonly issues: readonly {
        readonly message: string;
        readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
      }[];
    };

/**
 * A schema of arktype, zod, valibot or any library that follows Standard Schema. A model is shown JSON Schema, so the
 * library must be able to make that of it: by Standard Schema's own `jsonSchema`, or by arktype's `toJsonSchema`.
 */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

type OutputOf<Schema extends StandardSchema> = NonNullable<Schema["~standard"]["types"]>["output"];

/** What a tool's function is given beside its input. */
export interface ToolContext {
  /** Aborted when the step is cancelled, times out, loses its lease or drains. */
  signal: AbortSignal;
  /** The same for every try of one call: hand it on to a service that recognises repeated requests. */
  idempotencyKey: string;
  /** Lines that name the tool. */
  log: Log;
}

/** A tool of the user's own: a function by name. */
export interface ToolDefinition<Input = JsonObject> {
  /** Letters, digits, `-` and `_`, at most 64: what models' providers accept. */
  name: string;
  /** What it does and when to use it, for models and for the people who approve its calls. */
  description: string;
  /** JSON Schema of an object, or a schema of a library. What does not fit never reaches `run`. */
  input: JsonObject | StandardSchema<Input>;
  /** The same of what it returns; without it, any JSON. */
  output?: JsonObject | StandardSchema;
  /** Without them, a call that may have run is never repeated without a person's yes. */
  annotations?: {
    /** It changes nothing. */
    readOnly?: boolean;
    /** Called twice with the same input and key, it does no more than called once. */
    idempotent?: boolean;
  };
  /** Does it. Returns JSON; what it throws fails the call with the error's message. */
  run(input: Input, context: ToolContext): unknown;
}

/** As {@link ToolDefinition}, of a tool whose input type no longer matters. */
// oxlint-disable-next-line typescript/no-explicit-any -- a parameter: no narrower type takes every tool
export type AnyTool = ToolDefinition<any>;

/**
 * A tool of one's own, for the `tools` of a configuration. Policy, approvals, the journal and agents treat it as they
 * treat the tools of MCP servers; its server is called `functions`. Like them, it runs only if the allowlist names it.
 *
 * @throws Error when it could never be called: the message says what is wrong
 * @example
 * import { defineTool } from "stateplane";
 *
 * export const chargeCard = defineTool({
 *   name: "charge_card",
 *   description: "Charges a card an amount in cents.",
 *   input: {
 *     type: "object",
 *     properties: { card: { type: "string" }, cents: { type: "integer", minimum: 1 } },
 *     required: ["card", "cents"],
 *   },
 *   run: async ({ card, cents }, { idempotencyKey }) => {
 *     return { receipt: `${String(card)}: ${Number(cents)} cents, ${idempotencyKey}` };
 *   },
 * });
 */
export function defineTool<Schema extends StandardSchema>(
  tool: Omit<ToolDefinition, "input" | "run"> & {
    input: Schema;
    run(input: OutputOf<Schema>, context: ToolContext): unknown;
  },
): ToolDefinition<OutputOf<Schema>>;
export function defineTool<Input = JsonObject>(
  tool: Omit<ToolDefinition<Input>, "input"> & { input: JsonObject },
): ToolDefinition<Input>;
export function defineTool(tool: AnyTool): AnyTool {
  const read = readTool(tool);
  if (typeof read === "string") throw new TypeError(`defineTool: ${read}`);
  return tool;
}

/** A tool as it is listed and called. */
export interface ReadTool {
  name: string;
  description: string;
  input: ReadSchema;
  output: ReadSchema | null;
  readOnly: boolean;
  idempotent: boolean;
  run: AnyTool["run"];
}

export interface ReadSchema {
  json: JsonObject;
  /** The library's own check, which may also convert; null of plain JSON Schema. */
  validate: StandardSchema["~standard"]["validate"] | null;
}

/** A tool's definition, which may come from anywhere. @returns what is wrong with it, a text, where it can't be used */
export function readTool(given: unknown): ReadTool | string {
  if (!isJsonObject(given)) return `expected a tool made with defineTool, not ${nameOf(given)}`;
  const { name, description, run, annotations = {} } = given as unknown as Partial<AnyTool>;
  if (typeof name !== "string" || !/^[\w-]{1,64}$/u.test(name)) {
    return "name: expected 1 to 64 letters, digits, - and _";
  }
  const about = `the tool "${name}": `;
  const known = ["name", "description", "input", "output", "annotations", "run"];
  const unknown = Object.keys(given).find((key) => !known.includes(key));
  if (unknown !== undefined) return `${about}${unknown}: expected one of ${known.join(", ")}`;
  if (typeof description !== "string" || description.trim() === "") {
    return `${about}description: expected what it does, for models and people`;
  }
  if (typeof run !== "function") return `${about}run: expected a function, not ${nameOf(run)}`;
  if (!isJsonObject(annotations)) return `${about}annotations: expected an object`;
  for (const [key, value] of Object.entries(annotations)) {
    if (key !== "readOnly" && key !== "idempotent")
      return `${about}annotations.${key}: expected readOnly or idempotent`;
    if (typeof value !== "boolean") return `${about}annotations.${key}: expected true or false`;
  }
  const input = readSchema(given["input"], "input");
  if (typeof input === "string") return `${about}input: ${input}`;
  if (input.json["type"] !== "object") return `${about}input: expected the schema of an object`;
  const output = given["output"] === undefined ? null : readSchema(given["output"], "output");
  if (typeof output === "string") return `${about}output: ${output}`;
  const { readOnly = false, idempotent = false } = annotations;
  return { name, description, input, output, readOnly, idempotent, run };
}

function readSchema(given: unknown, side: "input" | "output"): ReadSchema | string {
  const isLibrarys = given !== null && (typeof given === "object" || typeof given === "function");
  if (!isLibrarys) return `expected a JSON Schema or a Standard Schema, not ${nameOf(given)}`;
  if (!("~standard" in given)) {
    const json = toJson(given);
    if (!json.ok) return `the schema ${json.problem}`;
    return isJsonObject(json.value)
      ? { json: json.value, validate: null }
      : "expected a JSON Schema or a Standard Schema";
  }
  const schema = given as StandardSchema & { toJsonSchema?(options?: object): unknown };
  const standard = schema["~standard"] as StandardSchema["~standard"] & {
    jsonSchema?: Record<"input" | "output", (options: { target: string }) => unknown>;
  };
  try {
    const made =
      standard.jsonSchema === undefined
        ? schema.toJsonSchema?.()
        : standard.jsonSchema[side]({ target: "draft-2020-12" });
    const json = toJson(made);
    if (json.ok && isJsonObject(json.value)) {
      return { json: json.value, validate: (value) => standard.validate(value) };
    }
    return `${standard.vendor} makes no JSON Schema of it: give the JSON Schema itself`;
  } catch (error) {
    return `${standard.vendor} can't make a JSON Schema of it: ${messageOf(error)}`;
  }
}
