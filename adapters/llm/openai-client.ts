import OpenAI, { APIError } from "openai";
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

function readError(error: unknown): VendorError | null {
  if (!(error instanceof APIError)) return null;
  const { status, headers, error: said } = error as APIError & { error: unknown };
  return { status, headers, said };
}
