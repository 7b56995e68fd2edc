import { type } from "arktype";
import type { Outcome } from "../../machines/contracts/domain/failure.ts";
import { checked } from "./answer.ts";
import { type ControlPlaneApi, pathTo } from "./api.ts";

/** An API key of the embedded control plane, without its secret. */
const keyView = type({
  id: "string",
  name: "string",
  scopes: "string[]",
  roles: "string[]",
  hint: "string",
  created_at: "string",
  expires_at: "string | null",
  revoked_at: "string | null",
});
const keyList = keyView.array();
const madeKey = keyView.and({ key: "string" });
export type KeyView = typeof keyView.infer;
/** With its secret, which no later call tells. */
export type MadeKey = typeof madeKey.infer;

export interface KeysApi {
  list(signal: AbortSignal): Promise<Outcome<KeyView[]>>;
  /** @param expiresInMs null for never */
  create(
    key: {
      name: string;
      scopes: string[];
      roles?: string[];
      expiresInMs: number | null;
      /** Calls a minute; null for no limit. */
      perMinute?: number | null;
      /** Id or slug; null for the caller's own. */
      tenant?: string | null;
    },
    signal: AbortSignal,
  ): Promise<Outcome<MadeKey>>;
  /** @param overlapMs how long the secret before still opens */
  rotate(id: string, overlapMs: number, signal: AbortSignal): Promise<Outcome<MadeKey>>;
  revoke(id: string, signal: AbortSignal): Promise<Outcome<KeyView>>;
}

/** The keys of a control plane of ours; FerrumDeck's gateway creates none. */
export function keysApi({ call }: Pick<ControlPlaneApi, "call">): KeysApi {
  const path = "/v1/api-keys";
  return {
    async list(signal) {
      const answer = await call({ method: "GET", path: `${path}?limit=1000` }, signal);
      return checked(answer, keyList, "list of keys");
    },
    async create({ name, scopes, roles = [], expiresInMs, perMinute, tenant }, signal) {
      const limits = { expires_in_ms: expiresInMs, per_minute: perMinute ?? null };
      const body = { name, scopes, roles, ...limits, ...(tenant != null && { tenant_id: tenant }) };
      return checked(await call({ method: "POST", path, body }, signal), madeKey, "key");
    },
    async rotate(id, overlapMs, signal) {
      const to = pathTo`/v1/api-keys/${id}/rotate`;
      if (!to.ok) return to;
      const body = { overlap_ms: overlapMs };
      const answer = await call({ method: "POST", path: to.value, body }, signal);
      return checked(answer, madeKey, "key", { id });
    },
    async revoke(id, signal) {
      const to = pathTo`/v1/api-keys/${id}/revoke`;
      if (!to.ok) return to;
      const answer = await call({ method: "POST", path: to.value }, signal);
      return checked(answer, keyView, "key", { id });
    },
  };
}
