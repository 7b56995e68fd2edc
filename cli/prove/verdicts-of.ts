import { decideTool } from "../../adapters/control-plane/embedded/changes/check-tool.ts";
import { jobInput } from "../../adapters/control-plane/embedded/changes/create-run.ts";
import type { AgentSeed } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import type { AgentVersion } from "../../adapters/control-plane/embedded/documents.ts";
import { seedIds } from "../../adapters/control-plane/embedded/documents.ts";
import { evaluate, type Policy } from "../../adapters/control-plane/embedded/policy.ts";
import type { Allowlist, RuntimeOptions } from "../../actors/options.ts";
import { localVerdict, usersVerdict } from "../../actors/step/verdicts.ts";
import {
  type Action,
  stricter,
  type Verdict,
  verdict,
} from "../../machines/contracts/domain/action.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { actionOf, type Call, lifeOf, ownActionOf, type World } from "./life.ts";

/** What decides a call: everything of the configuration that has a say. */
export interface Rules {
  allowlist: Allowlist;
  policy: RuntimeOptions["policy"];
  agents: readonly AgentSeed[];
  policies: readonly Policy[];
  /** `worker`: the worker's lists and policy function decide alone. */
  toolPolicy: "control-plane" | "worker";
  /** Whether the control plane is ours, with these agents' lists; another one may allow whatever it is asked. */
  isOwnPlane: boolean;
  /** Whether an agent's call goes by the worker alone while the control plane is away. */
  isFailingOpen: boolean;
}

const minute = 60_000;

/**
 * Moments, epoch milliseconds, of which one stands for each set of policies whose time it can be within a week of now.
 * Policies' times are of whole minutes, in zones whose offsets are of quarters.
 */
export function momentsOf(policies: readonly Policy[], now: number): number[] {
  const timed = policies.filter(({ conditions, enabled }) => enabled && conditions.time);
  if (timed.length === 0) return [now];
  const bounds = timed.flatMap(({ conditions: { time } }) => [time?.from, time?.to]);
  const isOnQuarters = bounds.every(
    (bound) => bound === undefined || /:(?:00|15|30|45)$/u.test(bound),
  );
  const every = isOnQuarters ? 15 * minute : minute;
  const start = now - (now % every);
  const call = { tool: { server: null, name: "any", input: {} }, agent: "", tenant: "" };
  const seen = new Map<string, number>();
  for (let at = start; at < start + 8 * 24 * 60 * minute; at += every) {
    const holding = timed.map((policy) => {
      const { time } = policy.conditions;
      const alone = { ...policy, conditions: time === undefined ? {} : { time } };
      return evaluate([alone], { ...call, at }).decidedBy !== null;
    });
    const key = JSON.stringify(holding);
    if (!seen.has(key)) seen.set(key, at);
  }
  return [...seen.values()];
}

/** A step of an agent that calls the tool, before it is known what its calls can get. */
export function worldOf(
  agent: AgentSeed,
  stepType: "tool" | "llm",
  tool: World["tool"] & { address: string },
  input: JsonObject,
): World {
  const version = {
    modelParams: null,
    systemPrompt: null,
    allowedTools: null,
    approvalRequiredTools: [],
    deniedTools: [],
    ...agent,
  } as unknown as AgentVersion;
  const given =
    stepType === "tool" ? { tool_name: tool.address, tool_input: input } : { task: "anything" };
  const job: Job & { stepType: "tool" | "llm" } = {
    runId: "run_1",
    stepId: "stp_1",
    stepType,
    input: jobInput(version, stepType, given),
    tenantId: seedIds.tenant,
    projectId: seedIds.project,
    agentId: agent.slug,
    traceId: null,
    spanId: null,
    createdAt: 0,
  };
  return { job, agent: agent.slug, tool, calls: [], own: [] };
}

/** Every verdict that a call can get in such a step, one of a kind: at any of the moments, with every neighbour up or away. */
export function verdictsOn(
  rules: Rules,
  world: World,
  input: JsonObject,
  moments: readonly number[],
): Call {
  const call: Call = { input, verdicts: [] };
  const action = actionOf(world, lifeOf(world).getInitialSnapshot(), call);
  const { server, name } = world.tool;
  const tools = world.job.input["allowed_tools"];
  const listed = localVerdict(
    { server, name, input },
    rules.allowlist,
    Array.isArray(tools) ? tools.map(String) : null,
  );
  const own = withPolicy(rules, listed, action, world.job);
  const isAlone = rules.toolPolicy === "worker";
  const seed = rules.agents.find(({ slug }) => slug === world.agent);
  const said = moments.map((at) => {
    if (own.kind === "deny" || isAlone || seed === undefined) return own;
    const plane = ofPlane(rules, seed, { server, name, input }, at);
    if (own.kind !== plane.kind) return stricter(own, plane);
    return { ...plane, reason: `${own.reason}; ${plane.reason}` };
  });
  const away = rules.isFailingOpen && world.job.stepType === "llm" ? [own] : [];
  return { input, verdicts: oneOfAKind([...said, ...away]) };
}

/** What is said of an llm step itself. */
export function verdictsOnOwn(rules: Rules, world: World): Verdict[] {
  const listed = verdict.allow("llm steps run on this worker");
  return [withPolicy(rules, listed, ownActionOf(world), world.job)];
}

const withPolicy = (rules: Rules, listed: Verdict, action: Action, job: Job): Verdict =>
  stricter(listed, usersVerdict(rules.policy, action, job) ?? listed);

function ofPlane(
  { policies, isOwnPlane }: Rules,
  agent: AgentSeed,
  tool: { server: string | null; name: string; input: JsonObject },
  at: number,
): Verdict {
  const lists = {
    allowedTools: agent.allowedTools ?? null,
    approvalRequiredTools: agent.approvalRequiredTools ?? [],
    deniedTools: agent.deniedTools ?? [],
  };
  const listed = isOwnPlane
    ? decideTool(lists, tool)
    : verdict.allow("the control plane may allow whatever it is asked");
  const call = { tool, agent: agent.slug, tenant: seedIds.tenant, at };
  const { verdict: byPolicy } = evaluate(policies, call);
  return byPolicy === null ? listed : stricter(byPolicy, listed);
}

const oneOfAKind = (verdicts: readonly Verdict[]): Verdict[] => [
  ...new Map(verdicts.map((said) => [`${said.kind} ${said.failsStep ?? false}`, said])).values(),
];
