import { fail, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { type Rejected, rejectedIn, withoutRejected } from "./rejected-parameters.ts";
import { createToolNames, type ToolNames } from "./tool-calls.ts";
import { type Asked, callVendor, type Reader } from "./vendor-call.ts";
import type { Vendor } from "./vendor-fetch.ts";
import { toFailure, type VendorError } from "./vendor-trouble.ts";

/** What tells one vendor's API from another's. */
export interface VendorApi {
  vendor: Vendor;
  toRequest(request: ModelRequest, names: ToolNames): { body: object; dropped: string[] };
  /** What keeps a request from being put into the vendor's form; null when nothing does. */
  problem?(request: ModelRequest): string | null;
  /** Sends a body by the vendor's SDK. */
  open(
    body: object,
    options: { signal: AbortSignal; headers: Record<string, string> },
  ): PromiseLike<AsyncIterable<unknown>>;
  createReader(asked: Asked): Reader<unknown>;
}

/** How often one call is made again, each time without the parameter that the model has just refused. */
const maxRepeats = 4;
/** Models of which it is remembered what they refuse. */
const maxModels = 1_000;

/** A provider over one vendor's API. */
export function createVendorProvider(api: VendorApi): ModelProvider {
  const { vendor } = api;
  const refused = new Map<string, Rejected[]>();

  function remember(model: string, rejected: Rejected): void {
    if (!refused.has(model) && refused.size >= maxModels) refused.clear();
    refused.set(model, [...(refused.get(model) ?? []), rejected]);
  }

  return {
    async complete(request, signal, onPart): Promise<Outcome<ModelReply>> {
      const problem = api.problem?.(request) ?? null;
      if (problem !== null) {
        return fail({ ...toFailure(vendor, "bad_request", problem), kind: "invalid_input" });
      }
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const { body: whole, dropped } = api.toRequest(request, names);
      for (let repeats = 0; ; repeats += 1) {
        const sent = withoutRejected(whole as JsonObject, refused.get(request.model) ?? []);
        const { body } = sent;
        const all = [...new Set([...dropped, ...sent.dropped])].sort();
        const reader = api.createReader({ vendor, request, body, names, dropped: all });
        // Another body under the same key would be taken for the first one by a vendor that keeps to the key.
        const suffix = repeats === 0 ? "" : `-${repeats}`;
        const headers = { "Idempotency-Key": `${request.idempotencyKey}${suffix}` };
        const open = (limited: AbortSignal) => api.open(body, { signal: limited, headers });
        let error: VendorError | null = null;
        const onError = (said: VendorError) => {
          error = said;
        };
        const outcome = await callVendor(vendor, { signal, onPart, open, reader, onError });
        const rejected = error === null || repeats >= maxRepeats ? null : rejectedIn(error, body);
        if (outcome.ok || rejected === null || signal.aborted) return outcome;
        remember(request.model, rejected);
      }
    },
  };
}
