import OpenAI, { APIError } from "openai";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest } from "../../machines/contracts/ports/model-provider.ts";
import type { ProviderOptions } from "./providers.ts";
import { type Vendor, vendorFetch } from "./vendor-call.ts";
import type { VendorError } from "./vendor-trouble.ts";

/** What both of OpenAI's APIs share: the SDK, with its own retries and logging off. */
export function openaiClient(
  options: ProviderOptions,
  toEvents: (body: string) => string,
): { vendor: Vendor; client: OpenAI } {
  const { apiKey, baseUrl, totalMs } = options;
  const vendor: Vendor = { ...options, readError, toEvents };
  const client = new OpenAI({
    // A server of one's own may need none; the SDK asks for one.
    apiKey: apiKey ?? "none",
    baseURL: baseUrl ?? "https://api.openai.com/v1",
    timeout: totalMs,
    maxRetries: 0,
    logLevel: "off",
    fetch: vendorFetch(vendor),
  });
  return { vendor, client };
}

function readError(error: unknown): VendorError | null {
  if (!(error instanceof APIError)) return null;
  const { status, headers, error: said, message } = error as APIError & { error: unknown };
  return { status, headers, said: said ?? (status === undefined ? undefined : message) };
}

/** Compatible servers that are known to hold a model to a schema, by the names that they usually have. */
const structured = new Set(["azure", "gemini", "groq", "mistral", "ollama", "openrouter", "vllm"]);

/** How a model is held to a schema; null where that is not known to work, and the answer is only checked. */
export function responseFormat(
  provider: string,
  kind: ProviderOptions["kind"],
  { responseSchema: schema, model }: ModelRequest,
): JsonObject | null {
  if (schema === undefined) return null;
  if (
    kind === "openai-compatible" ? !structured.has(provider) : /^gpt-(?:3|4(?![o.]))/u.test(model)
  ) {
    return null;
  }
  return { name: "answer", schema, ...(isStrict(schema) ? { strict: true } : {}) };
}

/** `strict` wants every object closed and every property required; a schema without is sent as advice. */
function isStrict(schema: Json): boolean {
  if (Array.isArray(schema)) return schema.every(isStrict);
  if (!isJsonObject(schema)) return true;
  const { type, properties, required, additionalProperties } = schema;
  if (type === "object" || properties !== undefined) {
    const names = isJsonObject(properties) ? Object.keys(properties) : [];
    const isRequired = (name: string) => Array.isArray(required) && required.includes(name);
    if (additionalProperties !== false || !names.every(isRequired)) return false;
  }
  return Object.values(schema).every(isStrict);
}
