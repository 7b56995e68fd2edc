import type { Json, JsonObject } from "../json.ts";
import type { ToolCallPair } from "../tool-lists.ts";
import { dangerOf } from "./commands.ts";
import { credentialIn } from "./credentials.ts";
import { hostsOf, problemOfHost } from "./hosts.ts";
import { leavesOf } from "./leaves.ts";
import { type PastCall, problemsOfPace } from "./pace.ts";
import { type AirlockMode, type AirlockRule, type AirlockSettings, modeOf } from "./settings.ts";

/*
 * The Airlock: what a tool call's arguments and its run's pace say of it, whoever allowed it. One function of plain data,
 * which the embedded control plane calls at check-tool, and a worker calls itself where nobody else inspects.
 *
 * Every finding is recorded. One of a rule that enforces refuses the call from a score of 80 on; below that, and in
 * shadow mode, a finding changes nothing.
 */

/** FerrumDeck's, as its readers spell them, and two of ours. */
export type ViolationType =
  | "rcepattern"
  | "velocitybreach"
  | "loopdetection"
  | "exfiltrationattempt"
  | "ipaddressused"
  | "schemadrift"
  | "credentialleak";

export interface Finding {
  rule: AirlockRule;
  violation: ViolationType;
  /** From 0 to 100. */
  score: number;
  /** What was found and where; never the secret itself. */
  details: string;
  mode: Exclude<AirlockMode, "off">;
}

export interface InspectedCall {
  /** With its arguments. */
  tool: ToolCallPair & { input: JsonObject };
  /** The run's calls, this one the last. */
  calls: readonly PastCall[];
  /** Epoch milliseconds. */
  now: number;
  /** What the arguments break of the schema that the tool is registered with; null for nothing, or where it is not known. */
  drift: string | null;
}

/** FerrumDeck blocks whatever it finds, and finds less. */
const blocksFrom = 80;

export const isBlocking = ({ mode, score }: Finding): boolean =>
  mode === "enforce" && score >= blocksFrom;

/** All that is found, the worst first: what blocks before what does not. At most one of a rule. */
export function inspectCall(settings: AirlockSettings, call: InspectedCall): Finding[] {
  if (settings.mode === "off") return [];
  const { tool, calls, now, drift } = call;
  const { rules } = settings;
  const leaves = leavesOf(tool.input);
  const found: Omit<Finding, "mode">[] = problemsOfPace(calls, now, rules);
  if (drift !== null) {
    const details = `the arguments are not what the tool is registered with: ${drift}`;
    found.push({ rule: "schema", violation: "schemadrift", score: 80, details });
  }
  for (const leaf of leaves) {
    const danger = dangerOf(tool.name, leaf);
    if (danger !== null) found.push({ rule: "commands", violation: "rcepattern", ...danger });
    const kind = credentialIn(leaf.text);
    if (kind !== null) {
      const details = `${leaf.at === "" ? "an argument" : leaf.at} holds ${kind}`;
      found.push({ rule: "credentials", violation: "credentialleak", score: 85, details });
    }
    for (const host of hostsOf(tool.name, leaf)) {
      const problem = problemOfHost(host, rules.exfiltration ?? {});
      if (problem !== null) found.push({ rule: "exfiltration", ...problem });
    }
  }
  const judged = found.flatMap((finding): Finding[] => {
    const mode = modeOf(settings, finding.rule, tool);
    return mode === "off" ? [] : [{ ...finding, mode }];
  });
  const worst = judged.toSorted((one, other) => rank(other) - rank(one));
  return worst.filter(({ rule }, at) => worst.findIndex((other) => other.rule === rule) === at);
}

const rank = (finding: Finding): number => finding.score + (isBlocking(finding) ? 1_000 : 0);

/** FerrumDeck's bounds. */
export function riskLevel(score: number): "low" | "medium" | "high" | "critical" {
  if (score >= 80) return "critical";
  if (score >= 60) return "high";
  return score >= 40 ? "medium" : "low";
}

/** The worst finding in the words of check-tool's answer, and of a blocked step's output; null for none. */
export function toViolation([worst]: readonly Finding[]): JsonObject | null {
  if (worst === undefined) return null;
  const { score, violation, details, mode } = worst;
  return {
    risk_score: score,
    risk_level: riskLevel(score),
    violation_type: violation,
    violation_details: details,
    blocked_by_airlock: isBlocking(worst),
    shadow_mode: mode === "shadow",
  };
}

/** Every finding, for the audit and the trace of a decision. */
export const toTrace = (findings: readonly Finding[]): Json[] =>
  findings.map((finding) => ({
    rule: finding.rule,
    violation_type: finding.violation,
    risk_score: finding.score,
    mode: finding.mode,
    blocks: isBlocking(finding),
    details: finding.details,
  }));

export const reasonOf = ({ violation, details }: Finding): string =>
  `the Airlock blocked the call: ${violation}: ${details}`;
