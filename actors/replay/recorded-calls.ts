import type { CallResult, CallTarget } from "../../machines/agent-loop/context.ts";
import type { Action, Verdict } from "../../machines/contracts/domain/action.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import {
  effectsOf,
  type RecordedEffect,
  type StepRecording,
} from "../../machines/contracts/domain/recording.ts";
import type { ModelReply } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolDescription } from "../../machines/contracts/ports/tool-host.ts";
import { actionDigest, digestOf, inputDigests } from "../step/approvals.ts";
import { restore } from "../step/effects.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";

/** A tool call of a recording: what was called, and what came of it. */
export interface RecordedCall {
  effect: RecordedEffect;
  tool: string;
  server: string | null;
  /** Null where a person edited the arguments, and nothing kept them. */
  arguments: Json | null;
  /** Of an agent's call; null for a tool step's own. */
  result: CallResult | null;
}

/** A recording read for replaying: its effects by id, with long results fetched from where they are kept. */
export interface ReadEffects {
  effects: readonly RecordedEffect[];
  byId: ReadonlyMap<string, RecordedEffect>;
  calls: readonly RecordedCall[];
  /** The tools that the model was offered, and the step's own; null where they were not kept. */
  tools: ToolDescription[] | null;
}

/** Reads all that a replay serves. What can't be fetched stands there as the failure that says so. */
export async function readEffects(
  recording: StepRecording,
  artifacts: Pick<ArtifactStore, "get">,
): Promise<ReadEffects> {
  const effects: RecordedEffect[] = [];
  for (const effect of effectsOf(recording)) {
    const { outcome } = effect;
    const isElsewhere = isJsonObject(outcome) && isJsonObject(outcome["artifact"]);
    const fetched = isElsewhere
      ? ((await restore(artifacts as ArtifactStore, recording, outcome)) as unknown as Json)
      : outcome;
    // A failure that may pass is known not to have happened: it is no outcome.
    const { failure } = (fetched ?? {}) as { failure?: { retryable?: boolean } };
    // Of what a handler of the user's brought, only the result was kept under the call, and nothing of what went in.
    const isBare = effect.input !== null && Object.keys(effect.input).length === 0;
    const input = isBare ? null : effect.input;
    effects.push({ ...effect, input, outcome: failure?.retryable === true ? null : fetched });
  }
  const byId = new Map(effects.map((effect) => [effect.id, effect]));
  const lists = effects
    .filter(({ id }) => id.startsWith("tools#"))
    .flatMap(({ outcome }) => (valueOf(outcome) ?? []) as unknown as ToolDescription[]);
  const tools = [...new Map(lists.map((tool) => [tool.address, tool])).values()];
  const calls = effects.flatMap((effect) => callsOf(effect, byId, recording));
  return { effects, byId, calls, tools: lists.length === 0 ? null : tools };
}

/** What an effect brought; null where it failed, or nobody knows. */
export const valueOf = (outcome: Json): Json =>
  isJsonObject(outcome) && "value" in outcome ? (outcome["value"] ?? null) : null;

/** A model's answer as the journal keeps it. */
export interface KeptReply {
  reply: ModelReply;
  targets?: (CallTarget | null)[];
}

export function replyOf({ kind, outcome }: RecordedEffect): KeptReply | null {
  const value = kind === "model" ? valueOf(outcome) : null;
  return isJsonObject(value) && isJsonObject(value["reply"])
    ? (value as unknown as KeptReply)
    : null;
}

function callsOf(
  effect: RecordedEffect,
  byId: ReadonlyMap<string, RecordedEffect>,
  recording: StepRecording,
): RecordedCall[] {
  if (effect.kind === "tool" && effect.id.startsWith("tool:")) {
    const { tool_input: given, tool_name: name } = recording.job.input;
    const value = valueOf(effect.outcome);
    const server = isJsonObject(value) ? value["server"] : null;
    return [
      {
        effect,
        tool: String(name ?? ""),
        server: typeof server === "string" ? server : null,
        arguments: given ?? {},
        result: null,
      },
    ];
  }
  const kept = replyOf(effect);
  if (kept === null) return [];
  const turn = effect.id.slice("model#".length).split("+")[0];
  return kept.reply.toolCalls.flatMap((call, at) => {
    const own = byId.get(`tool#${turn}.${at + 1}`);
    if (own === undefined) return [];
    const result = valueOf(own.outcome) as unknown as CallResult | null;
    const target = kept.targets?.[at] ?? null;
    const tool = target?.name ?? call.name;
    const server = target?.server ?? null;
    const action = actionOf(own.id, tool, target, call.arguments);
    // Older journals have the digest of the action alone; that of a repeated call is its question's.
    const isAsAsked =
      result?.digest == null ||
      [actionDigest(recording, action), digestOf(action)].includes(result.digest) ||
      own.input?.["input"] === inputDigests({ input: action.input })["input"];
    return [{ effect: own, tool, server, arguments: isAsAsked ? call.arguments : null, result }];
  });
}

/** As policy judged the call: what its kept digest is of. */
function actionOf(
  call: string,
  name: string,
  target: CallTarget | null,
  given: JsonObject | null,
): Action {
  const input = given ?? {};
  if (target === null) return { kind: "tool", name, call, input };
  return { kind: "tool", name, server: target.server, schema: target.digest, call, input };
}

/** What was said of a call when it was recorded; null where nothing was, or nobody could say. */
export function verdictOf({ result }: RecordedCall): Verdict | null {
  if (result === null) return null;
  const { decision, reason, approvalId } = result;
  if (decision === "deny") return { kind: "deny", reason };
  if (decision === "requires_approval" || approvalId !== null) return { kind: "ask", reason };
  return decision === "allow" ? { kind: "allow", reason } : null;
}

/** An outcome as it goes back to whoever asked for the effect. */
export const isKept = (outcome: Json): boolean =>
  isJsonObject(outcome) && ("value" in outcome || "failure" in outcome);
