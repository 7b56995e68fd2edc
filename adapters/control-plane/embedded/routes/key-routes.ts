import { type } from "arktype";
import { Hono } from "hono";
import { callerOf } from "./access.ts";
import { readBody, readPage, rfc3339 } from "./request.ts";
import { type ApiKey, createKey, findKey, revokeKey, rotateKey, scopes } from "../keys.ts";
import { findTenant } from "../tenants.ts";
import type { Plane } from "../changes/change.ts";

const dayMs = 86_400_000;
export const newKey = type({
  name: "0 < string <= 255",
  scopes: type
    .enumerated(...scopes)
    .array()
    .moreThanLength(0)
    .atMostLength(scopes.length),
  "tenant_id?": "0 < string <= 255 | null",
  "roles?": type("0 < string <= 64").array().atMostLength(100),
  "per_minute?": "1 <= number.integer <= 1000000 | null",
  "expires_in_ms?": type(`0 < number.integer <= ${3650 * dayMs} | null`),
});
export const rotation = type({ "overlap_ms?": type(`0 <= number.integer <= ${7 * dayMs} | null`) });

/** `/v1/api-keys`: a secret is in the answer that makes it, and in no other. */
export function keyRoutes({ apply, rows }: Plane): Hono {
  const app = new Hono();
  app.get("/", (c) =>
    c.json(
      rows(c)
        .keys.list(readPage(c, 100, 1000))
        .map(keyResponse),
    ),
  );
  app.get("/:id", (c) => c.json(keyResponse(findKey({ store: rows(c) }, c.req.param("id")))));
  app.post("/", async (c) => {
    const {
      name,
      scopes: asked,
      roles = [],
      tenant_id: tenant,
      ...limits
    } = await readBody(c, newKey);
    const { expires_in_ms: expiresInMs = null, per_minute: perMinute = null } = limits;
    const tenantId = tenant == null ? rows(c).home : findTenant(rows(c), tenant).id;
    const key = { name, scopes: asked, roles, tenantId, expiresInMs, perMinute };
    const made = await apply((change) => createKey(change, key), callerOf(c));
    return c.json({ ...keyResponse(made.key), key: made.secret }, 201);
  });
  app.post("/:id/rotate", async (c) => {
    const { overlap_ms } = await readBody(c, rotation);
    const id = c.req.param("id");
    const made = await apply((change) => rotateKey(change, id, overlap_ms ?? 0), callerOf(c));
    return c.json({ ...keyResponse(made.key), key: made.secret });
  });
  app.post("/:id/revoke", async (c) => {
    const revoked = await apply((change) => revokeKey(change, c.req.param("id")), callerOf(c));
    return c.json(keyResponse(revoked));
  });
  return app;
}

const keyResponse = (key: ApiKey) => ({
  id: key.id,
  name: key.name,
  scopes: key.scopes,
  roles: key.roles ?? [],
  per_minute: key.perMinute ?? null,
  hint: key.hint,
  tenant_id: key.tenantId,
  created_at: rfc3339(key.createdAt),
  expires_at: rfc3339(key.expiresAt),
  revoked_at: rfc3339(key.revokedAt),
  previous_until: rfc3339(key.previous?.until ?? null),
});
