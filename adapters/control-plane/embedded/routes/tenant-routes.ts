import { type } from "arktype";
import { type Context, Hono } from "hono";
import type { Plane } from "../changes/change.ts";
import { changeTenant, createTenant, findTenant, type Tenant, tenantSlug } from "../tenants.ts";
import { budgetsResponse, budgetsShape } from "../spending.ts";
import { callerOf } from "./access.ts";
import { readBody, readPage, rfc3339 } from "./request.ts";

const name = "0 < string <= 255";
const perMinute = "1 <= number.integer <= 1000000 | null";
export const newTenant = type({
  slug: tenantSlug,
  "name?": name,
  "per_minute?": perMinute,
});
export const someOfTenant = type({
  "+": "reject",
  "name?": name,
  "per_minute?": perMinute,
  "budgets?": budgetsShape,
});

/** `/v1/tenants`: the operator's keys make and see all of them, others see their own. */
export function tenantRoutes({ apply, rows, now }: Plane): Hono {
  const app = new Hono();
  const tenantResponse = (c: Context, tenant: Tenant) => ({
    id: tenant.id,
    slug: tenant.slug,
    name: tenant.name,
    per_minute: tenant.perMinute,
    ...budgetsResponse(rows(c), tenant, now()),
    created_at: rfc3339(tenant.createdAt),
  });
  app.get("/", (c) =>
    c.json(
      rows(c)
        .tenants.list(readPage(c, 100, 1000))
        .map((tenant) => tenantResponse(c, tenant)),
    ),
  );
  app.get("/:id", (c) => c.json(tenantResponse(c, findTenant(rows(c), c.req.param("id")))));
  app.post("/", async (c) => {
    const body = await readBody(c, newTenant);
    const { slug, name: given = slug, per_minute: most = null } = body;
    const asked = { slug, name: given, perMinute: most };
    const made = await apply((change) => createTenant(change, asked), callerOf(c));
    return c.json(tenantResponse(c, made), 201);
  });
  app.patch("/:id", async (c) => {
    const { name: given, per_minute: most, budgets } = await readBody(c, someOfTenant);
    const some = {
      ...(given !== undefined && { name: given }),
      ...(most !== undefined && { perMinute: most }),
      ...(budgets !== undefined && { budgets }),
    };
    const id = c.req.param("id");
    return c.json(
      tenantResponse(c, await apply((change) => changeTenant(change, id, some), callerOf(c))),
    );
  });
  return app;
}
