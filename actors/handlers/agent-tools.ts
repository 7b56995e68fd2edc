import type { CallTarget } from "../../machines/agent-loop/context.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ModelTool } from "../../machines/contracts/ports/model-provider.ts";
import type {
  ToolDescription,
  ToolHost,
  ToolTarget,
} from "../../machines/contracts/ports/tool-host.ts";
import type { Allowlist } from "../options.ts";
import { digestOf } from "../step/approvals.ts";
import { localVerdict } from "../step/verdicts.ts";
import type { StepScope } from "./handler.ts";

/** Characters of a tool's description that a model is shown. */
const descriptionLength = 2_000;

/** Tools that a model is offered at most: OpenAI takes no more in a request, and none chooses well among more. */
const maxTools = 128;

/** The tools that an agent's model is offered: those which the lists allow or ask for, by the names it calls them by. */
export class OfferedTools {
  /** How many more are allowed than a model is offered. */
  readonly leftOut: number;
  readonly #byName: Map<string, ToolDescription>;

  constructor(tools: readonly ToolDescription[], leftOut = 0) {
    this.leftOut = leftOut;
    this.#byName = new Map(tools.map((tool) => [tool.address, tool]));
  }

  get size(): number {
    return this.#byName.size;
  }

  /** What calling this name means now; to be kept with the call. */
  target(called: string): CallTarget | null {
    const tool = this.#byName.get(called);
    if (tool === undefined) return null;
    const { server, name, digest, safeToRepeat, readOnly } = tool;
    return { server, name, digest, isSafe: safeToRepeat || readOnly };
  }

  /** The schema of exactly this tool, if it is offered now. */
  schemaOf({ server, name, digest }: ToolTarget): JsonObject | null {
    for (const tool of this.#byName.values()) {
      if (tool.server === server && tool.name === name && tool.digest === digest) {
        return tool.inputSchema;
      }
    }
    return null;
  }

  descriptions(): ToolDescription[] {
    return [...this.#byName.values()];
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
        inputSchema,
      }));
  }
}

/** Keeps the tools that a step works with beside its effects, for whoever replays it. */
export async function keepTools(
  effect: StepScope["effect"],
  tools: readonly ToolDescription[],
): Promise<void> {
  const kept = tools as unknown as Json;
  const key = `tools#${digestOf(kept).slice(0, 16)}`;
  const run = async () => ok(kept);
  await effect({ name: "tools", key, input: {}, repeat: "safe", isInner: true, run });
}

/**
 * The tools for a job's agent. What is denied is never offered; where no list lets anything through, no server is
 * asked.
 */
export async function offerTools(
  host: Pick<ToolHost, "list">,
  allowlist: Allowlist,
  { job, signal, log }: { job: Job; signal: AbortSignal; log: Log },
): Promise<Outcome<OfferedTools>> {
  const given = job.input["allowed_tools"];
  const agentTools = Array.isArray(given) ? given.filter((name) => typeof name === "string") : null;
  const isHopeless = [...allowlist.allowed, ...allowlist.approvalRequired].length === 0;
  if (isHopeless || agentTools?.length === 0) return ok(new OfferedTools([]));
  const listed = await host.list(signal);
  if (!listed.ok) return listed;
  const open = listed.value
    .filter((tool) => localVerdict({ ...tool, input: null }, allowlist, agentTools).kind !== "deny")
    .sort((one, other) => (one.address < other.address ? -1 : 1));
  const leftOut = open.splice(maxTools);
  if (leftOut.length > 0) {
    const [first] = leftOut;
    log.warn(
      { offered: open.length, leftOut: leftOut.length, first: first?.address },
      `an agent's model is offered ${maxTools} tools at most; the rest, from the first named here on, is left out: narrow the agent's allowed_tools, or the worker's list`,
    );
  }
  return ok(new OfferedTools(open, leftOut.length));
}
