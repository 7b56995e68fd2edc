import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { functionServer } from "./host.ts";

/**
 * How long a name that a function has is looked for on the MCP servers too, milliseconds: servers that are slow or
 * away must not slow down what needs none of them.
 */
const patienceMs = 1_000;
const prefix = `${functionServer}/`;

/**
 * A user's functions and the tools of MCP servers as one host, by the rules that hold between two servers: a name that
 * both have is a `conflict` unless it is called by its server, and a tool of a server that names itself
 * `functions/…` is neither listed nor found, so that none can slip past a list that speaks of a function.
 */
export function joinToolHosts(functions: ToolHost, servers: ToolHost, log: Log): ToolHost {
  const isPosing = ({ name, server }: ToolDescription) =>
    server === functionServer || name.startsWith(prefix);
  /** Names that a server was heard to have: one that went away counts against an ambiguous name all the same. */
  const heard = new Set<string>();
  return {
    async list(signal) {
      const [own, others] = await Promise.all([functions.list(signal), servers.list(signal)]);
      if (!own.ok) return own;
      if (!others.ok && signal.aborted) return others;
      if (!others.ok) {
        log.warn({ problem: others.failure.message }, "listing tools without the MCP servers");
        return own;
      }
      const named = new Set(own.value.map(({ name }) => name));
      const open = others.value.filter((tool) => !isPosing(tool));
      for (const { name } of open) heard.add(name);
      const shared = new Set(open.map(({ name }) => name).filter((name) => named.has(name)));
      return ok(
        [...own.value, ...open].map((tool) =>
          shared.has(tool.name) ? { ...tool, address: `${tool.server}/${tool.name}` } : tool,
        ),
      );
    },
    async describe(name, signal) {
      const own = await functions.describe(name, signal);
      if (name.startsWith(prefix)) return own;
      const within = own.ok ? AbortSignal.timeout(patienceMs) : null;
      const other = await servers.describe(
        name,
        within === null ? signal : AbortSignal.any([signal, within]),
      );
      const isOthers = other.ok && !isPosing(other.value);
      if (!own.ok) return other.ok && !isOthers ? own : other;
      if (isOthers || (!other.ok && other.failure.kind === "conflict")) heard.add(name);
      else if (other.ok || other.failure.kind === "not_found") heard.delete(name);
      if (!heard.has(name)) return own;
      const message = `tool "${name}" is a function of this worker and a tool of an MCP server: call it as server/tool`;
      return fail(terminal("conflict", message));
    },
    call: (target, input, signal, idempotencyKey, answers) =>
      (target.server === functionServer ? functions : servers).call(
        target,
        input,
        signal,
        idempotencyKey,
        answers,
      ),
    async close() {
      await Promise.all([functions.close(), servers.close()]);
    },
  };
}
