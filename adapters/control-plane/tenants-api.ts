import { type } from "arktype";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { checked } from "./answer.ts";
import type { ControlPlaneApi } from "./api.ts";

/** A tenant of the embedded control plane. */
const tenantView = type({
  id: "string",
  slug: "string",
  name: "string",
  per_minute: "number | null",
  created_at: "string",
});
const tenantList = tenantView.array();
export type TenantView = typeof tenantView.infer;

export interface TenantsApi {
  list(signal: AbortSignal): Promise<Outcome<TenantView[]>>;
  /** @param perMinute calls of all its keys together; null for no limit */
  create(slug: string, perMinute: number | null, signal: AbortSignal): Promise<Outcome<TenantView>>;
}

/** The tenants of a control plane of ours. */
export function tenantsApi({ call }: Pick<ControlPlaneApi, "call">): TenantsApi {
  const path = "/v1/tenants";
  return {
    async list(signal) {
      const answer = await call({ method: "GET", path: `${path}?limit=1000` }, signal);
      return checked(answer, tenantList, "list of tenants");
    },
    async create(slug, perMinute, signal) {
      const body = { slug, per_minute: perMinute };
      return checked(await call({ method: "POST", path, body }, signal), tenantView, "tenant");
    },
  };
}
