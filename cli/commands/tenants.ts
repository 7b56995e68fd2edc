import { commandLine } from "../called-as.ts";
import { tenantsApi } from "../../adapters/control-plane/tenants-api.ts";
import type { Command } from "../command.ts";
import { readPerMinute } from "./keys.ts";
import { withControlPlane } from "./with-control-plane.ts";

/** `tenants list`. */
export const listTenants: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output } = context;
    const tenants = await value(tenantsApi(api).list(signal));
    if (output.isJson) output.json(tenants);
    else {
      const rows = tenants.map(({ id, slug, name, per_minute, created_at }) => {
        const rate = per_minute === null ? "no limit" : String(per_minute);
        return [id, slug, name, rate, created_at];
      });
      output.table(["TENANT", "SLUG", "NAME", "CALLS A MINUTE", "CREATED"], rows);
    }
    return 0;
  });

/** `tenants create`. */
export const createTenant: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const slug = invocation.args[0] ?? "";
    const perMinute = readPerMinute(invocation.flags["per-minute"]);
    const tenant = await value(tenantsApi(api).create(slug, perMinute, signal));
    if (output.isJson) output.json(tenant);
    else {
      output.pairs([["created", `${tenant.id} (${tenant.slug})`]]);
      output.remark(
        `make its first key: ${commandLine(`keys create admin --scopes admin --tenant ${tenant.slug}`)}`,
      );
    }
    return 0;
  });
