import formats from "ajv-formats";
import { Ajv, type ErrorObject, type Options } from "ajv";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";

/** Says what is wrong with a value and where, never the value itself; null when it is sound. */
export type Check = (value: unknown) => string | null;

const options: Options = { strict: false, logger: false };

/**
 * Compiles a server's JSON Schema: draft 2020-12, which MCP takes for granted, or draft 7 where `$schema` says
 * an earlier draft, or where it says nothing and only the earlier draft can read it.
 * A fresh Ajv each time: one server's `$id`s must not resolve another's `$ref`s.
 *
 * @returns the compiler's complaint, a string, for a schema that no draft can read
 */
export function compileSchema(schema: JsonObject): Check | string {
  const { $schema: dialect, ...rest } = schema;
  if (typeof dialect === "string" && /draft-0[3-7]/.test(dialect))
    return compile(new Ajv(options), rest);
  const check = compile(new Ajv2020(options), rest);
  if (typeof check !== "string" || dialect !== undefined) return check;
  const earlier = compile(new Ajv(options), rest);
  return typeof earlier === "string" ? check : earlier;
}

function compile(ajv: Ajv | Ajv2020, schema: JsonObject): Check | string {
  try {
    formats.default(ajv);
    const validate = ajv.compile(schema);
    return (value) => (validate(value) ? null : describe(validate.errors?.[0]));
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function describe(error: ErrorObject | undefined): string {
  if (error === undefined) return "does not match its schema";
  const params = error.params as { additionalProperty?: string; allowedValues?: unknown[] };
  const detail = params.additionalProperty ?? params.allowedValues?.join(", ");
  const where = error.instancePath === "" ? "" : `${error.instancePath} `;
  return `${where}${error.message ?? "is wrong"}${detail === undefined ? "" : ` (${detail})`}`;
}
