import type { Allowlist } from "../../actors/options.ts";
import { localVerdict } from "../../actors/step/verdicts.ts";
import type { McpHost, ServerLook } from "../../adapters/mcp/host.ts";
import type { ToolSetPin } from "../../adapters/mcp/pins.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import {
  isUnconditional,
  namesTool,
  ruleTool,
  type ToolPair,
  type ToolRule,
} from "../../machines/contracts/domain/tool-lists.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";

/** What the lists say of some call of a tool: `disabled` when none can be made whatever they say. */
export type Standing = "allowed" | "asked" | "denied" | "disabled";

/** A tool as a person sees it. */
export interface ShownTool {
  name: string;
  /** The name that means it alone. */
  address: string;
  server: string;
  standing: Standing;
  /** Why it is denied or disabled; else what the lists say. */
  reason: string;
  /** What entries of the lists say of some of its calls only, by their arguments: `denied when force is true`. */
  conditions: readonly string[];
  description: string;
  isReadOnly: boolean;
  isSafeToRepeat: boolean;
  inputSchema: unknown;
  outputSchema: unknown;
  /** What should be looked at in its texts. */
  flags: readonly string[];
}

export interface ShownServer {
  name: string;
  /** As it says itself; null where it does not list its tools, or was not asked. */
  pin: ToolSetPin | null;
  /** Why nothing is known of its tools. */
  problem: string | null;
  /** Why none of its tools may be used, though they are known. */
  refused: string | null;
  tools: readonly ShownTool[];
}

/**
 * What is known of the servers' tools, and what the lists say of each. A server that does not list them within the time
 * is shown with the reason.
 *
 * @param atStart leaves servers alone that are to be started when they are first used
 */
export async function lookAtTools(
  host: Pick<McpHost, "look">,
  { allowlist }: { allowlist: Allowlist },
  signal: AbortSignal,
  atStart = false,
): Promise<ShownServer[]> {
  return (await host.look(signal, atStart)).map((look) => shown(look, allowlist));
}

/** Whether a tool host is one of MCP servers. */
export const canLook = (host: ToolHost): host is McpHost => "look" in host;

function shown(
  { name: server, found, isShadowed, address }: ServerLook,
  lists: Allowlist,
): ShownServer {
  if (found === null) return { name: server, pin: null, problem: null, refused: null, tools: [] };
  if (!found.ok) {
    return { name: server, pin: null, problem: found.failure.message, refused: null, tools: [] };
  }
  const { pin, tools, disabled, flags, refused } = found.value;
  const listed = new Set(tools.map(({ name }) => name));
  const unreadable = [...disabled.keys()].filter((name) => !listed.has(name));
  const rows = [
    ...tools.map((tool): ShownTool => {
      const { name, description, annotations, inputSchema, outputSchema } = tool;
      const problem = isShadowed(name)
        ? "its name reads as another server's tool"
        : (disabled.get(name) ?? null);
      const { kind, reason } = localVerdict({ server, name, input: null }, lists, null);
      const isReadOnly = annotations?.readOnlyHint === true;
      return {
        name,
        address: address(name),
        server,
        standing: problem === null ? standings[kind] : "disabled",
        reason: problem ?? reason,
        conditions: conditionsOf(lists, { server, name }),
        description: description ?? tool.title ?? annotations?.title ?? "",
        isReadOnly,
        isSafeToRepeat: isReadOnly || annotations?.idempotentHint === true,
        inputSchema,
        outputSchema: outputSchema ?? null,
        flags: flags.get(name) ?? [],
      };
    }),
    ...unreadable.map((name): ShownTool => ({
      name,
      address: address(name),
      server,
      standing: "disabled",
      reason: disabled.get(name) ?? "",
      conditions: [],
      description: "",
      isReadOnly: false,
      isSafeToRepeat: false,
      inputSchema: null,
      outputSchema: null,
      flags: [],
    })),
  ];
  return { name: server, pin, problem: null, refused: refused?.message ?? null, tools: rows };
}

function conditionsOf(lists: Allowlist, tool: ToolPair): string[] {
  const { allowed, approvalRequired, denied } = lists;
  return Object.entries({ denied, asked: approvalRequired, allowed }).flatMap(([word, list]) =>
    list.flatMap((rule) => {
      if (typeof rule === "string" || isUnconditional(rule)) return [];
      if (!namesTool(rule.tool, tool)) return [];
      const said = Object.entries(rule.when ?? {}).map(([key, pattern]) => {
        const values = Array.isArray(pattern) ? pattern : [pattern];
        return `${key} is ${values.map(String).join(" or ")}`;
      });
      return [`${word} when ${said.join(" and ")}`];
    }),
  );
}

const standings = { allow: "allowed", ask: "asked", deny: "denied" } as const;

/** `12 tools: 3 allowed, 1 asked, 8 denied`. */
export function summary({ tools, problem, pin }: ShownServer): string {
  if (problem !== null) return problem;
  if (pin === null) return "will be started when it is first used";
  const counts = (["allowed", "asked", "denied", "disabled"] as const).flatMap((standing) => {
    const count = tools.filter((tool) => tool.standing === standing).length;
    return count === 0 && standing === "disabled" ? [] : [`${count} ${standing}`];
  });
  return `${tools.length} ${tools.length === 1 ? "tool" : "tools"}: ${counts.join(", ")}`;
}

/**
 * Where no tool of a server may be called, the line of configuration that would let some: those that read only, else one
 * of them. Null where some may be.
 *
 * @param place which list the worker goes by
 */
export function allowingLine(
  { tools }: Pick<ShownServer, "tools">,
  place: { file: string; key: "allowed" | "allowed_tools" },
): string | null {
  const usable = tools.filter(({ standing }) => standing !== "disabled");
  if (usable.length === 0 || usable.some(({ standing }) => standing !== "denied")) return null;
  const readers = usable.filter(({ isReadOnly }) => isReadOnly);
  const named = (readers.length === 0 ? usable.slice(0, 1) : readers.slice(0, 3)).map(
    ({ server, name }) => JSON.stringify(`${server}/${name}`),
  );
  return `"allowlist": { "${place.key}": [${named.join(", ")}] } in ${place.file}`;
}

/**
 * An entry that lets a tool through by its bare name, where two servers have one: which is meant, nobody has said.
 *
 * @throws InvalidSetting that says how to write it
 */
export function refuseAmbiguous(
  servers: readonly ShownServer[],
  { allowed, approvalRequired }: Allowlist,
  source: string,
): void {
  for (const rule of [...allowed, ...approvalRequired] satisfies ToolRule[]) {
    const entry = ruleTool(rule);
    const owners = servers.filter(({ tools }) => tools.some(({ name }) => name === entry));
    if (owners.length < 2) continue;
    const names = owners.map(({ name }) => JSON.stringify(`${name}/${entry}`));
    const expected = `${names.join(" or ")} in place of ${JSON.stringify(entry)}, because ${owners.length} MCP servers have a tool of that name`;
    throw new InvalidSetting("allowlist", source, expected);
  }
}
