import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import type { ProviderKind } from "./providers.ts";

/*
 * Providers that can hold a model to a schema take only part of JSON Schema, and answer 400 to the rest. A schema
 * beyond that part is left out, or sent as advice where the provider takes advice: the answer is checked by us anyway.
 */

/** Keywords that OpenAI's strict mode and Anthropic both take. */
const keywords = new Set([
  "$defs",
  "$schema",
  "additionalProperties",
  "anyOf",
  "const",
  "default",
  "description",
  "enum",
  "items",
  "properties",
  "required",
  "title",
  "type",
]);

/** Every object is closed, every property required, and no keyword is one that a provider refuses. */
function isStrict(schema: Json): boolean {
  if (!isJsonObject(schema)) return typeof schema === "boolean";
  if (!Object.keys(schema).every((keyword) => keywords.has(keyword))) return false;
  const { type, properties, required, additionalProperties, items, anyOf, $defs } = schema;
  if (type === "object" || properties !== undefined) {
    const names = isJsonObject(properties) ? Object.keys(properties) : [];
    const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
    if (additionalProperties !== false || !names.every(isRequired)) return false;
  }
  const inner = [properties, $defs].flatMap((part) =>
    isJsonObject(part) ? Object.values(part) : [],
  );
  const others = [...(items === undefined ? [] : [items]), ...(Array.isArray(anyOf) ? anyOf : [])];
  return [...inner, ...others].every(isStrict);
}

/** Compatible servers that are known to hold a model to a schema, by the names that they usually have. */
const compatible = new Set(["azure", "gemini", "groq", "mistral", "ollama", "openrouter", "vllm"]);

/** How OpenAI's APIs are told a schema; null where that is not known to work. */
export function openaiSchema(
  provider: string,
  kind: ProviderKind,
  { responseSchema: schema, model }: ModelRequest,
): JsonObject | null {
  if (schema === undefined) return null;
  const isTaken =
    kind === "openai-compatible" ? compatible.has(provider) : !/^gpt-(?:3|4(?![o.]))/u.test(model);
  return isTaken ? { name: "answer", schema, ...(isStrict(schema) ? { strict: true } : {}) } : null;
}

/** Claude models that hold themselves to a schema. */
const claude =
  /^claude-(?:(?:opus-4-[1-9]|sonnet-4-[5-9]|haiku-4-[5-9])(?!\d)|[a-z]+-(?:[5-9]|\d\d)(?!\d))/u;

/** How Anthropic is told a schema; null for models and schemas that it does not take. */
export function anthropicSchema({
  responseSchema: schema,
  model,
}: ModelRequest): JsonObject | null {
  return schema !== undefined && claude.test(model) && isStrict(schema)
    ? { type: "json_schema", schema }
    : null;
}
