import { createHash, randomBytes } from "node:crypto";
import { ApiError } from "./routes/request.ts";
import type { Change } from "./changes/change.ts";
import { newId, seedIds } from "./documents.ts";

/*
 * A key is a secret of 256 random bits, shown once. What is kept is its SHA-256: such a secret can't be guessed from
 * it, so a slow hash, as for passwords, would only slow every call. A key keeps its id when its secret is rotated, so
 * that the audit names one caller.
 *
 *   read      looks at everything but the keys; every key may
 *   work      what a worker does: reports results, asks policy and people, reserves budgets
 *   write     starts and cancels runs, registers agents and tools
 *   approve   answers what people are asked
 *   admin     all of it, and keys and policies
 */
export const scopes = ["read", "work", "write", "approve", "admin"] as const;
export type Scope = (typeof scopes)[number];

export interface ApiKey {
  id: string;
  name: string;
  /** SHA-256 of the secret, in hex. */
  hash: string;
  /** The last characters of the secret, so that a person can tell keys apart. */
  hint: string;
  /** The secret before the last rotation, while it still opens. */
  previous: { hash: string; until: number } | null;
  scopes: Scope[];
  /** Whose questions it may answer, where a policy names a role. */
  roles?: string[];
  /** Calls that it may make a minute; absent or null for no limit. */
  perMinute?: number | null;
  tenantId: string;
  createdAt: number;
  expiresAt: number | null;
  revokedAt: number | null;
}

/** Who asks for something, and for which tenant. */
export interface By {
  /** Of the key. */
  id: string;
  tenantId: string;
}

/** Keys of the operator's tenant reach every tenant; others their own alone. */
export const mayReachAll = ({ tenantId }: Pick<By, "tenantId">): boolean =>
  tenantId === seedIds.tenant;

/** Who calls. */
export interface Caller extends By {
  scopes: readonly Scope[];
  roles?: readonly string[];
  perMinute?: number | null;
}

/** An admin could give itself any role. */
export const hasRole = ({ scopes: has, roles = [] }: Caller, role: string): boolean =>
  roles.includes(role) || has.includes("admin");

export const may = ({ scopes: has }: Caller, scope: Scope): boolean =>
  scope === "read" || has.includes(scope) || has.includes("admin");

export const hashOf = (secret: string): string => createHash("sha256").update(secret).digest("hex");

/** Whether the secret with this hash opens with the key now. */
export function opens(key: ApiKey, hash: string, now: number): boolean {
  if (key.revokedAt !== null || (key.expiresAt !== null && key.expiresAt <= now)) return false;
  return key.hash === hash || (key.previous?.hash === hash && key.previous.until > now);
}

export interface NewKey {
  name: string;
  scopes: Scope[];
  roles: string[];
  /** Calls a minute; null for no limit. */
  perMinute: number | null;
  /** Whose it is. */
  tenantId: string;
  /** Null for never. */
  expiresInMs: number | null;
}

/**
 * @returns the key, and its secret, which nobody can learn again
 * @throws ApiError 422 for a worker's key of a tenant
 */
export function createKey(change: Change, asked: NewKey): { key: ApiKey; secret: string } {
  const { now, store } = change;
  if (asked.scopes.includes("work") && !mayReachAll(asked)) {
    const message =
      "scopes: work is for keys of the operator alone, for a worker serves every tenant";
    throw new ApiError(422, message);
  }
  const secret = newSecret();
  const key: ApiKey = {
    id: newId("key", now),
    name: asked.name,
    ...kept(secret),
    previous: null,
    scopes: scopes.filter((scope) => asked.scopes.includes(scope)),
    roles: [...new Set(asked.roles)],
    perMinute: asked.perMinute,
    tenantId: asked.tenantId,
    createdAt: now,
    expiresAt: asked.expiresInMs === null ? null : now + asked.expiresInMs,
    revokedAt: null,
  };
  store.keys.put(key);
  change.audit(null, "key.created", {
    key_id: key.id,
    name: key.name,
    tenant_id: key.tenantId,
    scopes: key.scopes,
    roles: asked.roles,
    per_minute: asked.perMinute,
  });
  return { key, secret };
}

/**
 * Gives the key another secret. The one before opens for `overlapMs` more; one that was rotated away earlier, no more.
 *
 * @throws ApiError 404 for an unknown key, 409 for one that opens nothing
 */
export function rotateKey(
  change: Change,
  id: string,
  overlapMs: number,
): { key: ApiKey; secret: string } {
  const { now, store } = change;
  const known = findKey(change, id);
  if (!opens(known, known.hash, now)) {
    const why = known.revokedAt === null ? "has expired" : "is revoked";
    throw new ApiError(409, `key ${id} ${why}: create another one`);
  }
  const secret = newSecret();
  const previous = overlapMs === 0 ? null : { hash: known.hash, until: now + overlapMs };
  const key: ApiKey = { ...known, ...kept(secret), previous };
  store.keys.put(key);
  change.audit(null, "key.rotated", { key_id: id, overlap_ms: overlapMs });
  return { key, secret };
}

/**
 * Ends the key for good, at once. One that is revoked stays as it is.
 *
 * @throws ApiError 404 for an unknown key
 */
export function revokeKey(change: Change, id: string): ApiKey {
  const { now, store } = change;
  const known = findKey(change, id);
  if (known.revokedAt !== null) return known;
  const key: ApiKey = { ...known, revokedAt: now, previous: null };
  store.keys.put(key);
  change.audit(null, "key.revoked", { key_id: id, name: key.name });
  return key;
}

/** @throws ApiError 404 for an unknown key */
export function findKey({ store }: Pick<Change, "store">, id: string): ApiKey {
  const key = store.keys.find(id);
  if (key !== undefined) return key;
  const own =
    id === seedIds.key
      ? "; it is the one that the control plane was started with (FD_API_KEY)"
      : "";
  throw new ApiError(404, `key ${id} not found${own}`);
}

const newSecret = () => `fd_${randomBytes(32).toString("base64url")}`;

const kept = (secret: string) => ({ hash: hashOf(secret), hint: secret.slice(-4) });
