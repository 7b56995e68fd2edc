import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createModels } from "../../adapters/llm/models.ts";
import type { ProviderOptions } from "../../adapters/llm/providers.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import { useHttpServers } from "./http-servers.ts";

export interface SeenByVendor {
  path: string;
  headers: IncomingMessage["headers"];
  body: Record<string, unknown>;
}

export interface VendorServer {
  /** Every request in order. */
  seen: SeenByVendor[];
  url: string;
  /** Ours, with all vendors at this server, a key for each and a minute of patience. */
  models: ModelProvider;
  server: Server;
}

export interface Vendors {
  /** A server of the vendors' wire formats; `answer` plays its part. */
  vendor(answer: (response: ServerResponse) => unknown): Promise<VendorServer>;
}

const times = { totalMs: 60_000, idleMs: 30_000 };

/** All that we speak, at one server: `anthropic`, `openai` (another server's), `responses` and `chat` (OpenAI's own). */
export function vendorProviders(
  url: string,
  changed: Partial<Pick<ProviderOptions, "totalMs" | "idleMs">> = {},
): ProviderOptions[] {
  const openai = { apiKey: "sk-test-openai", keyVariable: "OPENAI_API_KEY", baseUrl: `${url}/v1` };
  const shared = { ...openai, ...times, ...changed };
  return [
    {
      ...shared,
      name: "anthropic",
      kind: "anthropic",
      apiKey: "sk-ant-test",
      keyVariable: "ANTHROPIC_API_KEY",
      baseUrl: url,
    },
    { ...shared, name: "openai", kind: "openai-compatible" },
    { ...shared, name: "responses", kind: "openai-responses" },
    { ...shared, name: "chat", kind: "openai" },
  ];
}

/** Vendors for the tests of a file; they are gone after each test. */
export function useVendors(): Vendors {
  const { serve } = useHttpServers();
  return {
    async vendor(answer) {
      const seen: SeenByVendor[] = [];
      const { url, server } = await serve((request, response) => {
        // A vendor is only posted to: whoever else comes means a server that had this port before.
        if (request.method !== "POST") return void response.writeHead(404).end();
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          const body = JSON.parse(Buffer.concat(chunks).toString());
          seen.push({ path: request.url ?? "", headers: request.headers, body });
          answer(response);
        });
      });
      const models = createModels({ providers: vendorProviders(url) });
      return { seen, url, models, server };
    },
  };
}
