import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { createModels } from "../../adapters/llm/models.ts";
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
  /** Ours, with both vendors at this server, a key for each and two seconds of patience. */
  models: ModelProvider;
  server: Server;
}

export interface Vendors {
  /** A server of the vendors' wire formats; `answer` plays its part. */
  vendor(answer: (response: ServerResponse) => void): Promise<VendorServer>;
}

/** Vendors for the tests of a file; they are gone after each test. */
export function useVendors(): Vendors {
  const { serve } = useHttpServers();
  return {
    async vendor(answer) {
      const seen: SeenByVendor[] = [];
      const { url, server } = await serve((request, response) => {
        const chunks: Buffer[] = [];
        request.on("data", (chunk: Buffer) => chunks.push(chunk));
        request.on("end", () => {
          const body = JSON.parse(Buffer.concat(chunks).toString());
          seen.push({ path: request.url ?? "", headers: request.headers, body });
          answer(response);
        });
      });
      const models = createModels({
        openaiApiKey: "sk-test-openai",
        openaiBaseUrl: `${url}/v1`,
        anthropicApiKey: "sk-ant-test",
        anthropicBaseUrl: url,
        timeoutMs: 2000,
      });
      return { seen, models, server };
    },
  };
}
