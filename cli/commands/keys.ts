import { type KeyView, keysApi, type MadeKey } from "../../adapters/control-plane/keys-api.ts";
import { scopes } from "../../adapters/control-plane/embedded/keys.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { withControlPlane } from "./with-control-plane.ts";

const hourMs = 3_600_000;

/** `keys list`. */
export const listKeys: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output } = context;
    const keys = await value(keysApi(api).list(signal));
    if (output.isJson) output.json(keys);
    else if (keys.length === 0)
      output.remark("the only key is the one that the control plane was started with");
    else {
      const rows = keys.map((key) => [
        key.id,
        key.name,
        [...key.scopes, ...key.roles.map((role) => `role ${role}`)].join(", "),
        `…${key.hint}`,
        key.created_at,
        standing(key),
      ]);
      output.table(["KEY", "NAME", "SCOPES", "SECRET", "CREATED", "STATUS"], rows);
    }
    return 0;
  });

/** `keys create`. */
export const createKey: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { flags, args } = context.invocation;
    const asked = readScopes(flags["scopes"]);
    const roles = words(flags["roles"]) ?? [];
    const key = {
      name: args[0] ?? "",
      scopes: asked,
      roles,
      expiresInMs: readDays(flags["days"]),
      perMinute: readPerMinute(flags["per-minute"]),
      tenant: typeof flags["tenant"] === "string" ? flags["tenant"] : null,
    };
    return tell(context, await value(keysApi(api).create(key, signal)));
  });

/** `keys rotate`. */
export const rotateKey: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const id = context.invocation.args[0] ?? "";
    return tell(context, await value(keysApi(api).rotate(id, hourMs, signal)));
  });

/** `keys revoke`. */
export const revokeKey: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const key = await value(keysApi(api).revoke(invocation.args[0] ?? "", signal));
    if (output.isJson) output.json(key);
    else output.pairs([["revoked", `${key.id} (${key.name})`]]);
    return 0;
  });

/** The secret alone goes to standard output, so that it can be piped to where it is kept. */
function tell({ output }: Pick<Context, "output">, made: MadeKey): number {
  if (output.isJson) {
    output.json(made);
    return 0;
  }
  const until = made.expires_at === null ? "" : `, until ${made.expires_at}`;
  output.remark(`${made.id} (${made.name}), scopes: ${made.scopes.join(", ")}${until}`);
  output.remark("Keep this secret now; it is not shown again:");
  output.line(made.key);
  return 0;
}

function standing({ revoked_at, expires_at }: KeyView): string {
  if (revoked_at !== null) return `revoked ${revoked_at}`;
  if (expires_at === null) return "active";
  return Date.parse(expires_at) <= Date.now()
    ? `expired ${expires_at}`
    : `active until ${expires_at}`;
}

const words = (text: string | true | undefined) =>
  typeof text === "string" ? text.split(",").map((word) => word.trim()) : null;

/** @throws CliError */
function readScopes(text: string | true | undefined): string[] {
  const asked = words(text) ?? ["read"];
  const known: readonly string[] = scopes;
  const odd = asked.find((scope) => !known.includes(scope));
  if (odd === undefined) return asked;
  const expected = `expected some of ${scopes.join(", ")}, with commas between`;
  throw new CliError(2, `--scopes: ${expected}, not ${JSON.stringify(odd)}`);
}

const dayMs = 86_400_000;
const mostDays = 3650;

/** Null for no limit. @throws CliError */
export function readPerMinute(text: string | true | undefined): number | null {
  if (typeof text !== "string") return null;
  const calls = /^\d{1,7}$/u.test(text) ? Number(text) : 0;
  if (calls >= 1 && calls <= 1_000_000) return calls;
  throw new CliError(2, `--per-minute: expected a whole number from 1 to 1000000, not "${text}"`);
}

/** Null for never. @throws CliError */
function readDays(text: string | true | undefined): number | null {
  if (typeof text !== "string") return null;
  const days = /^\d{1,4}$/u.test(text) ? Number(text) : 0;
  if (days >= 1 && days <= mostDays) return days * dayMs;
  throw new CliError(2, `--days: expected a whole number from 1 to ${mostDays}, not "${text}"`);
}
