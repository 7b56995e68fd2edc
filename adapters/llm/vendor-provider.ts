import { createHash } from "node:crypto";
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
  /** Whether the vendor's limit of an answer has this one name, so that no other is tried. */
  hasOneLimit?: boolean;
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
/** Of one model; each value that is refused counts. */
const maxRejected = 32;

/** A provider over one vendor's API. */
export function createVendorProvider(api: VendorApi): ModelProvider {
  const { vendor } = api;
  const refused = new Map<string, Rejected[]>();

  /** Only what a repeat has shown to be the trouble: a vendor's words may quote the step's own. */
  function remember(model: string, rejected: readonly Rejected[]): void {
    if (rejected.length === 0) return;
    const known = refused.get(model) ?? [];
    if (known.length === 0 && refused.size >= maxModels) refused.clear();
    const all = new Map([...known, ...rejected].map((each) => [JSON.stringify(each), each]));
    refused.set(model, [...all.values()].slice(-maxRejected));
  }

  return {
    async complete(request, signal, onPart): Promise<Outcome<ModelReply>> {
      const problem = api.problem?.(request) ?? null;
      if (problem !== null) {
        return fail({ ...toFailure(vendor, "bad_request", problem), kind: "invalid_input" });
      }
      const names = createToolNames((request.tools ?? []).map((tool) => tool.name));
      const { body: whole, dropped } = api.toRequest(request, names);
      /** Refused in this call. */
      const found: Rejected[] = [];
      for (;;) {
        const known = refused.get(request.model) ?? [];
        const sent = withoutRejected(whole as JsonObject, [...known, ...found]);
        const { body } = sent;
        const all = [...new Set([...dropped, ...sent.dropped])].sort();
        const reader = api.createReader({ vendor, request, body, names, dropped: all });
        const headers = { "Idempotency-Key": keyOf(request, body) };
        const open = (limited: AbortSignal) => api.open(body, { signal: limited, headers });
        let error: VendorError | null = null;
        const onError = (said: VendorError) => {
          error = said;
        };
        const outcome = await callVendor(vendor, { signal, onPart, open, reader, onError });
        if (outcome.ok) remember(request.model, found);
        if (outcome.ok || error === null || signal.aborted) return outcome;
        const rejected = found.length >= maxRepeats ? null : rejectedIn(error, body, api);
        if (rejected === null) return outcome;
        found.push(rejected);
      }
    },
  };
}

/** A key per body: one that keeps to keys would answer another body under the same key with the first one's answer. */
function keyOf({ idempotencyKey }: ModelRequest, body: JsonObject): string {
  const digest = createHash("sha256").update(JSON.stringify(body)).digest("hex");
  return `${idempotencyKey}-${digest.slice(0, 16)}`;
}
