import { type } from "arktype";
import type { JsonObject } from "../../../machines/contracts/domain/json.ts";
import type { Change } from "./changes/change.ts";
import { newId, seedIds } from "./documents.ts";
import { ApiError } from "./routes/request.ts";
import { type Budgets, withBudgets } from "./spending.ts";
import type { Rows } from "./rows.ts";

/*
 * A tenant has agents, tools, policies, workflows, runs and keys of its own, and sees nothing of another's. The operator's
 * tenant is there from the beginning: its keys reach every tenant, its workers serve them all, and its policies bind them
 * all. See `rows.ts` for how that is kept.
 */
export interface Tenant {
  id: string;
  /** Its own id: a tenant belongs to itself. */
  tenantId: string;
  slug: string;
  name: string;
  /** Calls that all its keys together may make a minute; null for no limit. */
  perMinute: number | null;
  /** What all its runs together may spend; absent for no limit. */
  budgets?: Budgets;
  createdAt: number;
}

export const operatorTenant = (): Tenant => ({
  id: seedIds.tenant,
  tenantId: seedIds.tenant,
  slug: "operator",
  name: "The operator of this control plane",
  perMinute: null,
  createdAt: 0,
});

export const tenantSlug = type(/^[a-z0-9][a-z0-9_-]{0,62}$/);

/** @throws ApiError 400 for a slug that is taken */
export function createTenant(
  change: Change,
  asked: Pick<Tenant, "slug" | "name" | "perMinute">,
): Tenant {
  const { now, store } = change;
  if (store.tenants.find(asked.slug) !== undefined) {
    throw new ApiError(400, `a tenant with slug "${asked.slug}" exists already`);
  }
  const id = newId("ten", now);
  const tenant: Tenant = { id, tenantId: id, ...asked, createdAt: now };
  store.tenants.put(tenant);
  const { slug, perMinute } = asked;
  change.audit(null, "tenant.created", { tenant_id: id, slug, per_minute: perMinute });
  return tenant;
}

/** @throws ApiError 404 for an unknown tenant */
export function changeTenant(
  change: Change,
  key: string,
  some: Partial<Pick<Tenant, "name" | "perMinute" | "budgets">>,
): Tenant {
  const known = findTenant(change.store, key);
  const budgets = some.budgets && { budgets: withBudgets(known.budgets, some.budgets) };
  const tenant: Tenant = { ...known, ...some, ...budgets };
  change.store.tenants.put(tenant);
  const { id, name, perMinute } = tenant;
  change.audit(null, "tenant.changed", {
    tenant_id: id,
    name,
    per_minute: perMinute,
    ...(tenant.budgets && { budgets: tenant.budgets as JsonObject }),
  });
  return tenant;
}

/** By id or slug. @throws ApiError 404 for an unknown tenant */
export function findTenant(rows: Pick<Rows, "tenants">, key: string): Tenant {
  const tenant = rows.tenants.find(key);
  if (tenant === undefined) throw new ApiError(404, `tenant ${key} not found`);
  return tenant;
}
