import { hash } from "node:crypto";
import { type Ask, verdict } from "../../machines/contracts/domain/action.ts";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { StepRecording } from "../../machines/contracts/domain/recording.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ControlPlane, Report } from "../../machines/contracts/ports/control-plane.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription, ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import type { ApprovalView } from "../../machines/contracts/wire/views.ts";
import type { RuntimePorts } from "../ports.ts";
import { replyOf, type ReadEffects } from "./recorded-calls.ts";
import { neverRecorded } from "./serve-effects.ts";
import type { ReplayPlan } from "./plan.ts";

/** Neighbours that touch nothing: what they say is what was recorded. */

/** Answers as the control plane and the people behind it did, and takes the step's report. */
export function replayControlPlane(
  { recording, onEvent, isChanged }: ReplayPlan,
  on: { report(report: Report): void; unanswered(ask: Ask): void; approved(ask: Ask): void },
): ControlPlane {
  const views = new Map<string, ApprovalView>();
  const now = { id: recording.runId, run_id: recording.runId, step_id: recording.stepId };
  return {
    ping: async () => ok(null),
    extensions: async () => ok(new Set(["idempotent-results", "approvals"] as const)),
    checkTool: async () => ok(verdict.deny("a replay judges its calls itself")),
    async report(report) {
      if (report.body.status !== "waiting_approval") on.report(report);
      return ok("accepted");
    },
    async requestApproval(_step, ask) {
      const found = answerTo(ask, recording);
      // Where the walk has left the recording, a question that nobody answered then is answered no.
      const said = found.status === "pending" && isChanged ? nobody : found;
      const { status } = said;
      const id = String(said.id ?? `apr_${ask.digest.slice(0, 12)}`);
      const view = { ...now, ...said, id, status } as ApprovalView;
      views.set(id, view);
      onEvent({ type: "approval", action: ask.action, answer: status ?? "pending" });
      if (status === "pending") on.unanswered(ask);
      if (status === "approved") on.approved(ask);
      return ok(view);
    },
    async findApproval(id) {
      const view = views.get(id);
      return view === undefined ? fail(terminal("not_found", `no approval ${id}`)) : ok(view);
    },
    run: async (id) => ok({ id, status: "running" } as never),
    steps: async () => ok([]),
  };
}

const nobody: Partial<ApprovalView> = {
  status: "rejected",
  resolved_by: "the replay",
  resolution_note: "nobody was asked this when it was recorded, and a replay asks nobody",
};

/** What people said of exactly this question. */
function answerTo(
  { digest, action }: Ask,
  { grants, refusals, result }: StepRecording,
): Partial<ApprovalView> & Pick<ApprovalView, "status"> {
  const grant = grants.find((given) => given.digest === digest || given.edit?.asked === digest);
  if (grant !== undefined) {
    const edit =
      grant.edit === undefined
        ? {}
        : { asked_digest: grant.edit.asked, edited_input: grant.edit.input };
    const { approvalId: id, resolvedBy: resolved_by } = grant;
    return { id, status: "approved", digest: grant.digest, resolved_by, ...edit };
  }
  const refusal = refusals.find((given) => given.digest === digest);
  const ended = result?.status === "failed" && action.call === undefined ? result.failure : null;
  const kind = refusal?.kind ?? ended?.kind;
  if (kind === "approval_expired") return { status: "expired" };
  if (kind !== "approval_rejected") return { status: "pending" };
  const [, by = "someone", note = null] =
    /^rejected by (.*?)(?:: (.*))?$/su.exec(refusal?.reason ?? ended?.message ?? "") ?? [];
  const id = refusal?.approvalId ?? undefined;
  return {
    ...(id === undefined ? {} : { id }),
    status: "rejected",
    resolved_by: by,
    resolution_note: note,
  };
}

/** The tools as they were; a call goes to the real ones where the plan has some and allows it, and else nowhere. */
export function replayTools(
  { tools: live, newCalls, recording }: ReplayPlan,
  read: ReadEffects,
): ToolHost {
  const known = [...(read.tools ?? toolsOfCalls(read)), ...ownTool(recording)];
  const names = ({ name, server, address }: ToolDescription) => [
    address,
    `${server}/${name}`,
    name,
  ];
  return {
    list: async () => ok(known),
    async describe(name) {
      const found = known.find((tool) => names(tool).includes(name));
      return found === undefined
        ? fail(terminal("not_found", `the recording knows no tool "${name}"`))
        : ok(found);
    },
    async call(target, input, signal, ...more) {
      const tool = known.find(
        ({ server, name }) => server === target.server && name === target.name,
      );
      const isSafe = tool?.safeToRepeat === true || tool?.readOnly === true;
      if (live !== null && (newCalls === "all" || (newCalls === "safe" && isSafe))) {
        return live.call(target, input, signal, ...more);
      }
      return fail(
        terminal("tool_failed", neverRecorded(`a call of ${target.server}/${target.name}`)),
      );
    },
    close: async () => {},
  };
}

/** The step's own tool, as its name was resolved when it was judged: a handler of the user's may have done its work. */
function ownTool({ action, job }: StepRecording): ToolDescription[] {
  const { server, schema: digest, name } = action ?? {};
  if (server === undefined || digest === undefined || name === undefined) return [];
  const address = String(job.input["tool_name"] ?? name);
  const more = { description: "", inputSchema: {}, outputSchema: null };
  return [{ server, name, digest, address, ...more, safeToRepeat: false, readOnly: false }];
}

/** What the recording's calls tell of their tools, where the tools themselves were not kept. */
function toolsOfCalls({ effects, calls }: ReadEffects): ToolDescription[] {
  const tools = new Map<string, ToolDescription>();
  const common = { description: "", inputSchema: { type: "object" }, outputSchema: null };
  for (const { reply, targets = [] } of effects.flatMap((effect) => replyOf(effect) ?? [])) {
    for (const [at, target] of targets.entries()) {
      if (target === null) continue;
      const { isSafe, ...tool } = target;
      const address = reply.toolCalls[at]?.name ?? target.name;
      tools.set(address, { ...tool, ...common, address, safeToRepeat: isSafe, readOnly: false });
    }
  }
  for (const { tool, server, result } of calls) {
    if (result !== null || server === null) continue;
    const name = tool.startsWith(`${server}/`) ? tool.slice(server.length + 1) : tool;
    const own = { server, name, digest: hash("sha256", tool, "hex"), address: tool };
    tools.set(tool, { ...own, ...common, safeToRepeat: false, readOnly: false });
  }
  return [...tools.values()];
}

/** Code and searches are served, and never run again. */
export function replayRunners({
  recording: { result },
}: ReplayPlan): Pick<RuntimePorts, "sandbox" | "retrievers"> {
  const refuse = (what: string) => async () => fail(terminal("refused", neverRecorded(what)));
  const output = result?.output ?? null;
  const mode = isJsonObject(output) ? output["mode"] : null;
  const retriever = { retrieve: refuse("the search") };
  return {
    sandbox: { driver: typeof mode === "string" ? mode : "replay", run: refuse("the code") },
    retrievers: { local: retriever, http: retriever },
  };
}

/** Asks the real models from the fork on. Which windows they have is known without asking. */
export function replayModels({ models }: ReplayPlan): ModelProvider {
  const targets = models?.targets?.bind(models);
  return {
    complete: async (request, signal, onPart) =>
      models === null
        ? fail(terminal("refused", neverRecorded(`a call of the model ${request.model}`)))
        : models.complete(request, signal, onPart),
    ...(targets === undefined ? {} : { targets }),
  };
}

/** Reads what the recording refers to; what the replay itself makes is kept in memory, and gone with it. */
export function replayArtifacts({ artifacts }: ReplayPlan): ArtifactStore {
  const made = new Map<string, { ref: never; content: Uint8Array }>();
  return {
    isShared: false,
    check: async () => ok(null),
    async put(step, { name, kind, content, id: given }) {
      const bytes = typeof content === "string" ? Buffer.from(content) : content;
      const sha256 = hash("sha256", bytes, "hex");
      const { runId, stepId } = step;
      // As the stores do it, so that a note of a long result reads as it was recorded.
      const own = hash("sha256", JSON.stringify([runId, stepId, name, kind, sha256]), "hex");
      const id = given ?? own.slice(0, 16);
      const ref = { id, runId, stepId, name, kind, sha256, size: bytes.byteLength };
      made.set(id, { ref: ref as never, content: bytes });
      return ok(ref);
    },
    async get(runId, id) {
      const found = made.get(id);
      return found === undefined ? artifacts.get(runId, id) : ok(found);
    },
  };
}

/** A step's input with what the plan changes in it. */
export function changedInput({ recording, changes }: ReplayPlan): JsonObject {
  return { ...recording.job.input, ...changes };
}
