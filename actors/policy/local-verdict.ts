import { type Verdict, verdict } from "../../machines/contracts/verdict.ts";
import type { Allowlist } from "../options.ts";

/**
 * The worker's own say on a tool: denied, then asked for, then allowed; anything else is denied.
 *
 * @param agentTools the tools of the job's agent, where the job names them: they narrow, never widen
 */
export function localVerdict(
  tool: string,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): Verdict {
  if (allowlist.denied.includes(tool))
    return verdict.deny(`tool '${tool}' is denied on this worker`);
  const known = allowlist.allowed.includes(tool) || allowlist.approvalRequired.includes(tool);
  if (!known) return verdict.deny(`tool '${tool}' is not on this worker's allowlist`);
  if (agentTools !== null && !agentTools.includes(tool)) {
    return verdict.deny(`tool '${tool}' is not among the agent's allowed tools`);
  }
  return allowlist.approvalRequired.includes(tool)
    ? verdict.ask(`tool '${tool}' needs approval on this worker`)
    : verdict.allow(`tool '${tool}' is on this worker's allowlist`);
}
