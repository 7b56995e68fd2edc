import { type Verdict, verdict } from "../../machines/contracts/verdict.ts";
import type { Allowlist } from "../options.ts";

/**
 * The worker's own say on a tool: denied, then asked for, then allowed; anything else is denied. A tool may be
 * addressed as `server.tool`; the lists speak of it by either name.
 *
 * @param agentTools the tools of the job's agent, where the job names them: they narrow, never widen
 */
export function localVerdict(
  tool: string,
  allowlist: Allowlist,
  agentTools: readonly string[] | null,
): Verdict {
  const names = [tool, tool.slice(tool.indexOf(".") + 1)];
  const isOn = (list: readonly string[]) => names.some((name) => list.includes(name));
  if (isOn(allowlist.denied)) return verdict.deny(`tool '${tool}' is denied on this worker`);
  if (!isOn(allowlist.allowed) && !isOn(allowlist.approvalRequired)) {
    return verdict.deny(`tool '${tool}' is not on this worker's allowlist`);
  }
  if (agentTools !== null && !isOn(agentTools)) {
    return verdict.deny(`tool '${tool}' is not among the agent's allowed tools`);
  }
  return isOn(allowlist.approvalRequired)
    ? verdict.ask(`tool '${tool}' needs approval on this worker`)
    : verdict.allow(`tool '${tool}' is on this worker's allowlist`);
}
