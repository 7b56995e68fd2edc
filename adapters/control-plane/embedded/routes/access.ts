import { timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import { seedIds } from "../documents.ts";
import { type Caller, hashOf, may, mayReachAll, opens, type Scope } from "../keys.ts";
import type { Store } from "../store.ts";
import { ApiError } from "./request.ts";

declare module "hono" {
  interface ContextVariableMap {
    caller: Caller;
    /** Whether the key that came still opens: for what goes on for long. */
    isStillOpen: () => boolean;
  }
}

/** Whose key the request came with. */
export const callerOf = (c: Context): Caller => c.get("caller");

/** What a call needs, by the first line that fits. What fits none needs `admin`, so that a new route is closed. */
const needs: readonly (readonly [method: string, path: RegExp, scope: Scope])[] = [
  ["GET", /^\/v1\/(?:api-keys|backup)(?:\/|$)/, "admin"],
  ["GET", /^/, "read"],
  ["POST", /^\/v1\/policies\/explain$/, "read"],
  [
    "POST",
    /^\/v1\/runs\/[^/]+\/(?:steps\/[^/]+|check-tool|reservations|reservations\/settle)$/,
    "work",
  ],
  ["POST", /^\/v1\/(?:approvals|events\/text)$/, "work"],
  ["PUT", /^\/v1\/approvals\/[^/]+$/, "approve"],
  ["POST", /^\/v1\/(?:runs|runs\/[^/]+\/cancel)$/, "write"],
  ["POST", /^\/v1\/dead-letters\/[^/]+\/retry$/, "write"],
  ["POST", /^\/v1\/(?:registry|workflows|workflow-runs)(?:\/|$)/, "write"],
];

/**
 * What only keys of the operator's tenant may do: workers take the jobs of every tenant off one stream, and one database
 * is copied and audited as a whole.
 */
const ofOperator: readonly (readonly [method: RegExp, path: RegExp])[] = [
  [/^/, /^\/v1\/(?:backup|audit|evals)(?:\/|$)/],
  [/^(?!GET)/, /^\/v1\/tenants(?:\/|$)/],
];

const isOfOperator = (method: string, path: string): boolean =>
  scopeFor(method, path) === "work" ||
  ofOperator.some(([of, shape]) => of.test(method) && shape.test(path));

export function scopeFor(method: string, path: string): Scope {
  const asked = method === "HEAD" ? "GET" : method;
  return needs.find(([of, shape]) => of === asked && shape.test(path))?.[2] ?? "admin";
}

/** A key, or a tenant with all its keys. */
type Limited = Pick<Caller, "id" | "perMinute">;

/** Those who call are looked through for such as have long been idle, whenever they are as many more. */
const mostBusy = 10_000;

/**
 * How long a key has to wait before its next call, in milliseconds; 0 where it may make it now, which is counted. One
 * number a key: when it would have made all its calls, were they made one by one at its rate.
 */
export function createRates(now: () => number): (limited: Limited) => number {
  const minuteMs = 60_000;
  const busyUntil = new Map<string, number>();
  let nextLook = mostBusy;
  return ({ id, perMinute = null }) => {
    if (perMinute === null) return 0;
    const at = now();
    if (busyUntil.size >= nextLook) {
      for (const [other, until] of busyUntil) if (until <= at) busyUntil.delete(other);
      nextLook = busyUntil.size + mostBusy;
    }
    // A clock that was set back makes nobody wait for longer than a minute.
    const busy = Math.min(busyUntil.get(id) ?? 0, at + minuteMs);
    const until = Math.max(at, busy) + minuteMs / perMinute;
    if (until - at > minuteMs) return until - at - minuteMs;
    busyUntil.set(id, until);
    return 0;
  };
}

/** The refusal of a call that came too early, with the header that says when it may come. */
export function tooMany(c: Context, why: string, waitMs: number): ApiError {
  c.header("retry-after", String(Math.ceil(waitMs / 1000)));
  return new ApiError(429, `${why}: wait as long as Retry-After says`);
}

/**
 * Lets in who brings a key, as `Bearer` or `ApiKey`, that may do what is asked for: one that is kept, or the one that the
 * control plane was started with, which may do everything.
 */
export function authorize(store: Store, firstKey: string, now: () => number): MiddlewareHandler {
  const first = Buffer.from(hashOf(firstKey));
  const find = (secret: string): Caller | null => {
    const hash = hashOf(secret);
    if (timingSafeEqual(Buffer.from(hash), first))
      return { id: seedIds.key, tenantId: seedIds.tenant, scopes: ["admin"] };
    const key = store.keys.findByHash(hash);
    return key !== undefined && opens(key, hash, now()) ? key : null;
  };
  const waitMs = createRates(now);
  return async (c, next) => {
    const [, given = ""] =
      /^(?:bearer|apikey) +(\S+)$/i.exec(c.req.header("authorization") ?? "") ?? [];
    const caller = find(given);
    if (caller === null) {
      throw new ApiError(401, "expected a valid key: Authorization: Bearer <key>");
    }
    const tenant = mayReachAll(caller) ? undefined : store.tenants.find(caller.tenantId);
    for (const limited of [caller, ...(tenant === undefined ? [] : [tenant])]) {
      const wait = waitMs(limited);
      if (wait === 0) continue;
      const who = limited === caller ? `key ${caller.id}` : `tenant ${limited.id}`;
      throw tooMany(c, `${who} may make ${limited.perMinute} calls a minute`, wait);
    }
    const scope = scopeFor(c.req.method, c.req.path);
    if (!may(caller, scope)) {
      const message = `this key may not do that: ${c.req.method} ${c.req.path} needs the scope ${scope}, and key ${caller.id} has ${caller.scopes.join(", ")}`;
      throw new ApiError(403, message, "INSUFFICIENT_SCOPE");
    }
    if (!mayReachAll(caller) && isOfOperator(c.req.method, c.req.path)) {
      const message = `this key may not do that: ${c.req.method} ${c.req.path} is the operator's, and key ${caller.id} is of tenant ${caller.tenantId}`;
      throw new ApiError(403, message, "INSUFFICIENT_SCOPE");
    }
    c.set("caller", caller);
    c.set("isStillOpen", () => find(given) !== null);
    await next();
  };
}
