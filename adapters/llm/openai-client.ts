import OpenAI, { APIError } from "openai";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelRequest, ModelTool } from "../../machines/contracts/ports/model-provider.ts";
import type { ProviderOptions } from "./providers.ts";
import { type Vendor, vendorFetch } from "./vendor-fetch.ts";
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

/** What says which tools there are, and how they may be called: only where there are any. */
export function toolFields(
  { tools = [], toolChoice }: ModelRequest,
  parallel: Json | undefined,
  toTool: (tool: ModelTool) => JsonObject,
): JsonObject {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(toTool),
    ...(parallel === undefined ? {} : { parallel_tool_calls: parallel }),
    ...(toolChoice === "none" ? { tool_choice: "none" } : {}),
  };
}

/** What a tool answered, as text: neither API has a field for a tool's failure. */
export const toolOutput = ({ content, isError }: { content: string; isError?: boolean }): string =>
  isError === true ? `Error: ${content}` : content;

/** What the SDK threw as the vendor's error; null when it is something else. */
export function readError(error: unknown): VendorError | null {
  if (!(error instanceof APIError)) return null;
  const { status, headers, error: said } = error as APIError & { error: unknown };
  return { status, headers, said };
}
