import { type Action, type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import type { StepRecording } from "../../machines/contracts/domain/recording.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { Allowlist } from "../options.ts";
import { actionDigest, digestOf, inputDigests } from "../step/approvals.ts";
import { localVerdict, usersVerdict } from "../step/verdicts.ts";
import { type ReadEffects, verdictOf } from "./recorded-calls.ts";
import type { ReplayPlan } from "./plan.ts";

/** Lets everything through that the recorded verdicts, or those in their place, let through. */
export const openLists: Allowlist = { allowed: ["*", "*/*"], approvalRequired: [], denied: [] };

/**
 * What policy says in a replay: of each call what it said then; where the plan has another policy, what that says. A
 * call that was never judged is judged by the plan's policy, and allowed without one: whether it is made is another
 * question, which the tools answer.
 */
export class RecordedVerdicts {
  readonly #plan: ReplayPlan;
  readonly #read: ReadEffects;
  /** Digests of what people have said yes to in this walk. */
  readonly #approved = new Set<string>();

  constructor(plan: ReplayPlan, read: ReadEffects) {
    this.#plan = plan;
    this.#read = read;
  }

  /** The walk has come to a yes: from here on, what policy said in the end is what it says. */
  approved(digest: string): void {
    this.#approved.add(digest);
  }

  /**
   * Whether a person was asked about exactly this, and has not answered yet in this walk. What a call came to does not
   * say so where the call that a person put in its place was denied, or it was denied itself after the yes.
   */
  #isAskedFirst(action: Action): boolean {
    const { recording } = this.#plan;
    const { grants, refusals } = recording;
    if (grants.length + refusals.length === 0) return false;
    const digest = actionDigest(recording, action);
    if (this.#approved.has(digest)) return false;
    return (
      grants.some((grant) => (grant.edit?.asked ?? grant.digest) === digest) ||
      refusals.some((refusal) => refusal.digest === digest)
    );
  }

  judge(action: Action, job: Job): Verdict {
    const said = this.#judged(action, job);
    const { policy } = this.#plan;
    if (policy !== undefined || said.kind === "ask" || !this.#isAskedFirst(action)) return said;
    return verdict.ask("a person was asked when it was recorded");
  }

  #judged(action: Action, job: Job): Verdict {
    const { policy, newPolicy, newCalls, recording } = this.#plan;
    if (action.kind === "repeat") return verdict.ask("nobody has allowed this action");
    if (policy !== undefined && action.kind === "tool") return ofPolicy(policy, action, job);
    if (action.call === undefined) return recording.verdict ?? verdictOfResult(recording);
    const asked = recording.asks.find((ask) => ask.action.call === action.call);
    if (asked !== undefined && digestOf(asked.action) === digestOf(action)) {
      return verdict.ask(asked.reason);
    }
    const { calls } = this.#read;
    const input = inputDigests({
      tool: action.name,
      server: action.server ?? null,
      input: action.input,
    });
    const same = (call: (typeof calls)[number]) =>
      call.arguments === null ||
      digestOf(inputDigests({ tool: call.tool, server: call.server, input: call.arguments })) ===
        digestOf(input);
    const [own] = calls.filter((call) => call.effect.id === action.call && same(call));
    const known = own ?? calls.find(same);
    const said = known === undefined ? null : verdictOf(known);
    if (said !== null) return said;
    if (action.kind !== "tool") return verdict.ask("nobody has allowed this action");
    // What may really be made is judged by what holds now; the rest is refused when it is made.
    return newCalls === "none"
      ? verdict.allow("never judged when it was recorded")
      : ofPolicy(newPolicy, action, job);
  }
}

/** A step that was denied keeps no verdict, but fails by its words. */
function verdictOfResult({ result }: StepRecording): Verdict {
  const failure = result?.status === "failed" ? result.failure : null;
  if (failure?.kind !== "policy_denied") {
    return verdict.allow("the recording has no verdict on the step's own action");
  }
  const { message: reason, details } = failure;
  return { kind: "deny", reason, ...(details === undefined ? {} : { details }) };
}

function ofPolicy(
  { allowlist, policy }: NonNullable<ReplayPlan["policy"]>,
  action: Action,
  job: Job,
): Verdict {
  const { name, server = null, input } = action;
  const given = job.input["allowed_tools"];
  const own = Array.isArray(given) ? given.filter((tool) => typeof tool === "string") : null;
  const listed = localVerdict({ server, name, input }, allowlist, own);
  const users = usersVerdict(policy, action, job);
  const strictness = { allow: 0, ask: 1, deny: 2 };
  return users !== null && strictness[users.kind] >= strictness[listed.kind] ? users : listed;
}
