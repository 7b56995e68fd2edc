import { type } from "arktype";
import { matchesGlob } from "../../../machines/contracts/domain/glob.ts";
import { type Verdict, verdict } from "../../../machines/contracts/domain/action.ts";
import { notList } from "../../../machines/contracts/domain/json.ts";
import {
  couldMean,
  isHeldBack,
  isListed,
  ruleTool,
  type ToolCallPair,
  type ToolRule,
  toolLabel,
  toolRuleShape,
} from "../../../machines/contracts/domain/tool-lists.ts";

/*
 * A policy says of which calls it speaks, and what becomes of them. Of those that speak of a call, the ones with the
 * highest priority decide; among them deny goes before require_approval, and that before allow. What the agent
 * version's own lists say is never widened: the stricter of both holds.
 *
 * Where it can't be told whether a policy speaks of a call (an argument that is not there, a tool whose server is not
 * known), one that holds calls back does, and one that lets them through does not. A policy that can't be read denies
 * every call, until it is corrected or disabled.
 */
export const effects = ["allow", "require_approval", "deny"] as const;
export type Effect = (typeof effects)[number];

const texts = type("0 < string <= 255").array().moreThanLength(0).atMostLength(1000);
const timeOfDay = type(/^(?:[01]\d|2[0-3]):[0-5]\d$/);
const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

const zone = type("0 < string <= 64").narrow(
  (name, ctx) => isZone(name) || ctx.reject("a time zone, such as Europe/Berlin"),
);

/** Every one that is given has to hold. */
export const conditionsShape = type({
  "+": "reject",
  /** As in the worker's lists: a tool's name or `server/tool`, with wildcards, and `when` over arguments. */
  "tools?": toolRuleShape.array().moreThanLength(0).atMostLength(1000),
  /** Agents' slugs, with wildcards. */
  "agents?": texts,
  "tenants?": texts,
  /** When: on these days, from one time of day to before another, which may be past midnight. */
  "time?": type({
    "+": "reject",
    "days?": type
      .enumerated(...days)
      .array()
      .moreThanLength(0)
      .atMostLength(7),
    "from?": timeOfDay,
    "to?": timeOfDay,
    "zone?": zone,
  }).narrow(notList),
}).narrow(notList);
export type Conditions = typeof conditionsShape.infer;

/** Who may answer, and for how long, where a policy asks for approval. */
export const approvalTermsShape = type({
  "+": "reject",
  "role?": "0 < string <= 64",
  "four_eyes?": "boolean",
  "expires_in_ms?": "0 < number.integer <= 2592000000",
  /** When nobody answers: roles that are asked in turn, each for as long; then, or without any, it is a no. */
  "hand_to?": type("0 < string <= 64").array().moreThanLength(0).atMostLength(10),
}).narrow(notList);

export interface Policy {
  id: string;
  projectId: string;
  name: string;
  description: string | null;
  /** The higher one decides. */
  priority: number;
  conditions: Conditions;
  effect: Effect;
  /** Of `require_approval` alone; null for anybody who may approve, as long as was asked for. */
  approval?: typeof approvalTermsShape.infer | null;
  enabled: boolean;
  createdAt: number;
  updatedAt: number;
}

/** As it is kept, of one tenant. */
export interface KeptPolicy extends Policy {
  tenantId: string;
}

const readable = type({
  id: "string",
  name: "string",
  priority: "number.integer",
  conditions: conditionsShape,
  effect: type.enumerated(...effects),
  "approval?": approvalTermsShape.or("null"),
  enabled: "boolean",
});

/** One call, with all that a policy may ask about it. */
export interface PolicyCall {
  tool: ToolCallPair;
  /** The agent's slug. */
  agent: string;
  tenant: string;
  /** Epoch milliseconds. */
  at: number;
}

/** What one policy has to do with a call. */
export interface Considered {
  policy: Policy;
  covers: boolean;
  /** Why, for a person. */
  why: string;
  /** What it says; a policy that can't be read denies. */
  effect: Effect;
}

export interface PolicyDecision {
  /** Null where no policy speaks of the call. */
  verdict: Verdict | null;
  decidedBy: Considered | null;
  considered: Considered[];
}

const strictness: Readonly<Record<Effect, number>> = { allow: 0, require_approval: 1, deny: 2 };

export function evaluate(policies: readonly Policy[], call: PolicyCall): PolicyDecision {
  const considered = policies
    .map((policy) => consider(policy, call))
    .toSorted((one, other) => rank(other) - rank(one) || strict(other) - strict(one));
  const decidedBy = considered.find(({ covers }) => covers) ?? null;
  return { considered, decidedBy, verdict: decidedBy === null ? null : said(decidedBy, call) };
}

const strict = ({ effect }: Considered) => strictness[effect];

/** One that can't be read goes before all that can. */
const rank = ({ policy, why }: Considered) =>
  why === unreadable || !Number.isFinite(policy.priority)
    ? Number.MAX_SAFE_INTEGER
    : policy.priority;

const unreadable = "it can't be read, so it denies every call until it is corrected or disabled";

function consider(policy: Policy, call: PolicyCall): Considered {
  if (policy.enabled === false)
    return { policy, covers: false, why: "it is disabled", effect: policy.effect };
  if (readable(policy) instanceof type.errors) {
    return { policy, covers: true, why: unreadable, effect: "deny" };
  }
  const { effect, conditions } = policy;
  const not = missing(conditions, effect, call);
  return { policy, covers: not === null, why: not ?? "all its conditions hold", effect };
}

/** The first condition that does not hold. */
function missing(
  { tools, agents, tenants, time }: Conditions,
  effect: Effect,
  call: PolicyCall,
): string | null {
  const label = toolLabel(call.tool);
  if (tools !== undefined && !speaksOf(tools, effect, call.tool)) {
    const unsure = effect === "allow" ? ", or it can't be told" : "";
    return `tools: none of them is ${label} with these arguments${unsure}`;
  }
  const isOne = (globs: readonly string[], name: string) =>
    globs.some((glob) => matchesGlob(glob, name));
  if (agents !== undefined && !isOne(agents, call.agent))
    return `agents: none of them is ${call.agent}`;
  if (tenants !== undefined && !isOne(tenants, call.tenant)) {
    return `tenants: none of them is ${call.tenant}`;
  }
  if (time !== undefined && !isIn(time, call.at)) {
    const { day, clock } = localTime(call.at, time.zone ?? "UTC");
    return `time: it is ${day} ${clock} in ${time.zone ?? "UTC"}`;
  }
  return null;
}

/** Lets through only what is surely meant, and holds back what may be. */
function speaksOf(
  tools: NonNullable<Conditions["tools"]>,
  effect: Effect,
  tool: ToolCallPair,
): boolean {
  if (effect === "allow") return isListed(tools, tool);
  if (isHeldBack(tools, tool)) return true;
  // Of a name that is not resolved to a server, every tool that it could mean, with these arguments.
  const asNamed = (rule: ToolRule): ToolRule =>
    typeof rule === "string" ? tool.name : { ...rule, tool: tool.name };
  const meant = tools.filter((rule) => couldMean(ruleTool(rule), tool.name)).map(asNamed);
  return tool.server === null && isHeldBack(meant, tool);
}

function said({ policy, effect, why }: Considered, { tool }: PolicyCall): Verdict {
  const label = `tool "${toolLabel(tool)}"`;
  const name = `policy "${policy.name}"`;
  if (why === unreadable) return verdict.deny(`${name}: ${unreadable}`);
  if (effect === "deny") return verdict.deny(`${label} is denied by ${name}`);
  if (effect === "require_approval")
    return verdict.ask(`${label} needs a person's approval by ${name}`);
  return verdict.allow(`${label} is allowed by ${name}`);
}

type Time = NonNullable<Conditions["time"]>;

/** A span past midnight belongs to the day that it began on. */
function isIn(
  { days: on, from = "00:00", to = "24:00", zone: name = "UTC" }: Time,
  at: number,
): boolean {
  const { day, clock } = localTime(at, name);
  const isOn = (today: (typeof days)[number]) => on === undefined || on.includes(today);
  if (from < to) return isOn(day) && clock >= from && clock < to;
  const yesterday = days[(days.indexOf(day) + 6) % 7] ?? day;
  return (isOn(day) && clock >= from) || (isOn(yesterday) && clock < to);
}

function localTime(at: number, timeZone: string): { day: (typeof days)[number]; clock: string } {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).formatToParts(at);
  const part = (wanted: string) => parts.find((each) => each.type === wanted)?.value ?? "";
  const day = part("weekday").toLowerCase();
  return {
    day: days.find((known) => known === day) ?? "sun",
    clock: `${part("hour")}:${part("minute")}`,
  };
}

function isZone(timeZone: string): boolean {
  try {
    void new Intl.DateTimeFormat("en-US", { timeZone });
    return true;
  } catch {
    return false;
  }
}
