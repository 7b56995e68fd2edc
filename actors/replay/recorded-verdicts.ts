import { type Action, type Verdict, verdict } from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { ToolCheck } from "../../machines/contracts/ports/control-plane.ts";
import type { Allowlist } from "../options.ts";
import { digestOf, inputDigests } from "../step/approvals.ts";
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
  /** What the policy function said, for the control plane to say the same, with the reason as it was recorded. */
  readonly #said = new Map<string, Verdict>();

  constructor(plan: ReplayPlan, read: ReadEffects) {
    this.#plan = plan;
    this.#read = read;
  }

  judge(action: Action, job: Job): Verdict {
    const said = this.#judge(action, job);
    this.#said.set(keyOf(action.name, action.server, action.input), said);
    return said;
  }

  check({ toolName, server, toolInput }: ToolCheck): Verdict {
    const said = this.#said.get(keyOf(toolName, server, toolInput));
    return said ?? verdict.deny("the replay has no verdict on this call");
  }

  #judge(action: Action, job: Job): Verdict {
    const { policy, recording } = this.#plan;
    if (action.kind === "repeat") return verdict.ask("nobody has allowed this action");
    if (policy !== undefined && action.kind === "tool") return ofPolicy(policy, action, job);
    if (action.call === undefined) {
      return (
        recording.verdict ?? verdict.allow("the recording has no verdict on the step's action")
      );
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
    return said ?? verdict.allow("never judged when it was recorded");
  }
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

const keyOf = (name: string, server: string | undefined, input: unknown): string =>
  `${server ?? ""}\n${name}\n${digestOf(input)}`;
