import type { Job } from "../../machines/contracts/domain/job.ts";
import { ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelTool } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { Allowlist } from "../options.ts";
import { localVerdict } from "../step/verdicts.ts";

/** Characters of a tool's description that a model is shown. */
const descriptionLength = 2_000;

/** The tools that an agent's model is offered: those which the lists allow or ask for, by the names it calls them by. */
export class OfferedTools {
  readonly #byName: Map<string, ToolDescription>;

  constructor(tools: readonly ToolDescription[]) {
    this.#byName = new Map(tools.map((tool) => [tool.address, tool]));
  }

  get size(): number {
    return this.#byName.size;
  }

  find(name: string): ToolDescription | null {
    return this.#byName.get(name) ?? null;
  }

  names(): string[] {
    return [...this.#byName.keys()];
  }

  /** As a model is shown them, in an order that is the same in every call: a provider caches what begins alike. */
  forModel(): ModelTool[] {
    return [...this.#byName.values()]
      .sort((one, other) => (one.address < other.address ? -1 : 1))
      .map(({ address, description, inputSchema }) => ({
        name: address,
        description: description.slice(0, descriptionLength).toWellFormed(),
        inputSchema: inputSchema as JsonObject,
      }));
  }
}

/**
 * The tools for a job's agent. What is denied is never offered; where no list lets anything through, no server is
 * asked.
 */
export async function offerTools(
  host: Pick<ToolHost, "list">,
  allowlist: Allowlist,
  job: Job,
  signal: AbortSignal,
): Promise<Outcome<OfferedTools>> {
  const given = job.input["allowed_tools"];
  const agentTools = Array.isArray(given) ? given.filter((name) => typeof name === "string") : null;
  const isHopeless = [...allowlist.allowed, ...allowlist.approvalRequired].length === 0;
  if (isHopeless || agentTools?.length === 0) return ok(new OfferedTools([]));
  const listed = await host.list(signal);
  if (!listed.ok) return listed;
  return ok(
    new OfferedTools(
      listed.value.filter(
        (tool) => localVerdict({ ...tool, input: null }, allowlist, agentTools).kind !== "deny",
      ),
    ),
  );
}
