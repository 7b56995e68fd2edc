import { type } from "arktype";
import {
  type Action,
  type Verdict,
  verdict,
  verdictShape,
} from "../../machines/contracts/domain/action.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { thrownBy, toJson } from "../../machines/contracts/domain/users-code.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import {
  couldMean,
  isHeldBack,
  isListed,
  ruleTool,
  splits,
  type ToolCallPair,
  toolLabel,
  type ToolRule,
} from "../../machines/contracts/domain/tool-lists.ts";
import type { Allowlist, RuntimeOptions } from "../options.ts";

/**
 * The worker's own say on a call of a tool, by its lists: denied, then asked for, then allowed; anything else is denied.
 * Without an input, on whether some call of it may be made.
 *
 * @param agentTools the tools of the job's agent, where the job names them: they narrow, never widen
 */
export function localVerdict(
  call: ToolCallPair,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): Verdict {
  const label = `tool '${toolLabel(call)}'`;
  if (isHeldBack(allowlist.denied, call)) return verdict.deny(`${label} is denied on this worker`);
  const isAsked = isHeldBack(allowlist.approvalRequired, call);
  if (!isListed([...allowlist.allowed, ...allowlist.approvalRequired], call)) {
    const isKnown = isListed(allowlist.allowed, { ...call, input: null });
    const said = isKnown
      ? "is not allowed with these arguments"
      : "is not on this worker's allowlist";
    return verdict.deny(isKnown ? `${label} ${said} on this worker` : `${label} ${said}`);
  }
  if (agentTools !== null && !isListed(agentTools, call)) {
    return verdict.deny(`${label} is not among the agent's allowed tools`);
  }
  return isAsked
    ? verdict.ask(`${label} needs approval on this worker`)
    : verdict.allow(`${label} is on this worker's allowlist`);
}

/**
 * Whether the lists say the same of a call whatever server its tool is on: none of those that an entry speaks of, or the
 * name itself, makes a difference. Then it need not be known whose it is.
 */
export function isSameEverywhere(
  { name, input }: Pick<Action, "name" | "input">,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): boolean {
  const { allowed, approvalRequired, denied } = allowlist;
  const entries = [...allowed, ...approvalRequired, ...denied].map(ruleTool);
  const named = [...entries, ...(agentTools ?? [])].flatMap((entry) => splits(entry));
  const readings: ToolCallPair[] = [
    ...named.map(([server]) => ({ server, name, input })),
    ...splits(name).map(([server, bare]) => ({ server, name: bare, input })),
  ];
  const { kind } = localVerdict({ server: null, name, input }, allowlist, agentTools);
  return readings.every((call) => localVerdict(call, allowlist, agentTools).kind === kind);
}

/** The denial that a name gets whatever it is resolved to, so that no server is asked about it; null when it may pass. */
export function spelledVerdict(
  spelled: string,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): Verdict | null {
  const label = `tool '${spelled}'`;
  if (allowlist.denied.includes(spelled)) return verdict.deny(`${label} is denied on this worker`);
  const mayBe = (list: readonly ToolRule[]) =>
    list.some((rule) => couldMean(ruleTool(rule), spelled));
  if (!mayBe([...allowlist.allowed, ...allowlist.approvalRequired])) {
    return verdict.deny(`${label} is not on this worker's allowlist`);
  }
  if (agentTools !== null && !mayBe(agentTools)) {
    return verdict.deny(`${label} is not among the agent's allowed tools`);
  }
  return null;
}

/** What the user's policy function says; null without one. Whatever is not a verdict is a denial that names it. */
export function usersVerdict(
  policy: RuntimeOptions["policy"],
  action: Action,
  job: Job,
): Verdict | null {
  if (policy === undefined) return null;
  const named = `the policy function ${policy.name === "" ? "of this worker" : `"${policy.name}"`}`;
  try {
    // Copies: what a policy changes in them, then or later, changes no call that is judged, shown or made.
    const said: unknown = policy(structuredClone(action), structuredClone(job));
    if (said instanceof Promise) {
      // It is refused either way, and must not end the process when it rejects.
      said.catch(() => {});
      return verdict.deny(`${named} returned a promise: a verdict is needed at once`);
    }
    const plain = plainVerdict(said);
    const read = typeof plain === "string" ? plain : verdictShape()(plain.members);
    if (typeof read === "string" || read instanceof type.errors) {
      const problem = typeof read === "string" ? read : read.summary.replaceAll("\n", "; ");
      return verdict.deny(cutText(`${named} answered out of shape: ${problem}`, 500));
    }
    const { kind, reason, decisionId, failsStep } = read;
    return {
      kind,
      reason: cutText(reason, 500),
      ...(decisionId === undefined ? {} : { decisionId }),
      ...(failsStep === undefined ? {} : { failsStep }),
    };
  } catch (error) {
    return verdict.deny(thrownBy(named, error, process.cwd()));
  }
}

const verdictKeys = ["kind", "reason", "decisionId", "details", "failsStep"] as const;

/**
 * The members of a verdict, each looked at once: what is looked at twice may answer twice. They are taken as they stand:
 * a text in a `String` object, or a verdict that only `toJSON` gives, is none.
 *
 * @returns what is wrong with its details, a text, where they are no JSON
 */
function plainVerdict(said: unknown): { members: unknown } | string {
  if (!isJsonObject(said)) return { members: said };
  const given = verdictKeys.map((key): [string, unknown] => [key, said[key]]);
  const members = Object.fromEntries(given.filter(([, item]) => item !== undefined));
  if (members["details"] === undefined) return { members };
  const details = toJson(members["details"]);
  return details.ok
    ? { members: { ...members, details: details.value } }
    : `what it gives as details ${details.problem}`;
}
