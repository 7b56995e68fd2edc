import type { JsonObject } from "../domain/json.ts";

/** What a schema says of one value. `unusable`: the schema itself can't be applied to it, whatever the value is. */
export type SchemaVerdict =
  | { kind: "valid" }
  /** Says what is wrong with the value and where, never the value itself. */
  | { kind: "invalid"; problem: string }
  | { kind: "unusable"; problem: string };

export interface CompiledSchema {
  /** Patterns that are passed over, because no engine of linear time can match them. */
  unchecked: readonly string[];
  check(value: unknown): SchemaVerdict;
}

/**
 * The one reader of JSON Schemas that others wrote: a step's `output_schema`, a tool's input and output schemas.
 * Drafts 4, 6, 7, 2019-09 and 2020-12, by `$schema`. Neither a schema nor a value makes it throw, wait, or work for
 * longer than a bound; whatever passes the bound is `unusable`.
 */
export interface SchemaChecker {
  /** @returns what is wrong, a text, with a schema that can't be used */
  compile(schema: JsonObject): CompiledSchema | string;
}

/**
 * The same for whoever serves many: a schema that takes long is checked apart, and holds up neither them nor, for longer
 * than one check, another owner's.
 */
export interface SchemasApart {
  /** `unusable` for a schema that can't be used. */
  check(owner: string, schema: JsonObject, value: JsonObject): Promise<SchemaVerdict>;
  close(): Promise<void>;
}
