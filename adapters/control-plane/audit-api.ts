import { type } from "arktype";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { checked } from "./answer.ts";
import type { ControlPlaneApi } from "./api.ts";

const headView = type({ count: "number.integer >= 0", hash: "string" });
const heads = headView.and({ file: headView.or("null") });
export type AuditHeads = typeof heads.infer;

const entryView = type({
  seq: "number.integer",
  id: "string",
  run_id: "string | null",
  by: "string | null",
  event: "string",
  details: type("unknown").pipe((value) => value as Json),
  created_at: "string",
  hash: "string",
});
const entryList = entryView.array();
export type EntryView = typeof entryView.infer;

export interface AuditApi {
  head(signal: AbortSignal): Promise<Outcome<AuditHeads>>;
  /** Oldest first. `limit` 1 to 1000. */
  entries(after: number, limit: number, signal: AbortSignal): Promise<Outcome<EntryView[]>>;
}

/** The audit of a control plane of ours; FerrumDeck's gateway shows none. */
export function auditApi({ call }: Pick<ControlPlaneApi, "call">): AuditApi {
  return {
    head: async (signal) =>
      checked(await call({ method: "GET", path: "/v1/audit/head" }, signal), heads, "audit's head"),
    async entries(after, limit, signal) {
      const path = `/v1/audit?after=${after}&limit=${limit}`;
      return checked(
        await call({ method: "GET", path }, signal),
        entryList,
        "list of audit entries",
      );
    },
  };
}
