import { type Verdict, verdict } from "../../../../machines/contracts/verdict.ts";

export interface ToolLists {
  allowedTools: readonly string[] | null;
  approvalRequiredTools: readonly string[];
  deniedTools: readonly string[];
}

/** What an agent version's own lists say of a tool: denied over approval required over allowed over deny. */
export function decideTool(lists: ToolLists, tool: string): Verdict {
  const named = `tool "${tool}"`;
  if (lists.deniedTools.includes(tool)) return verdict.deny(`${named} is denied to this agent`);
  if (lists.approvalRequiredTools.includes(tool)) {
    return verdict.ask(`${named} needs a person's approval`);
  }
  if (lists.allowedTools?.includes(tool)) return verdict.allow(`${named} is allowed to this agent`);
  return verdict.deny(`${named} is not on this agent's lists`);
}
