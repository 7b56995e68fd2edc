import {
  combinationWarning,
  dangerousCombination,
} from "../../machines/contracts/domain/airlock/combination.ts";
import { isHeldBack, isListed } from "../../machines/contracts/domain/tool-lists.ts";
import type { Settings } from "../config/settings.ts";
import type { ShownServer } from "./look-at-tools.ts";

/**
 * Agents that combine private data, untrusted content and a way out, a sentence each. Without agents in the
 * configuration the worker's lists are what any agent may do.
 */
export function combinationWarnings(
  { agents = {} }: Pick<Settings, "agents">,
  servers: readonly ShownServer[],
): string[] {
  const unasked = servers
    .flatMap(({ tools }) => tools)
    .filter(({ standing }) => standing === "allowed");
  const named = Object.entries(agents).map(([slug, agent]) => ({
    who: `the agent "${slug}"`,
    tools: unasked.filter((tool) => {
      const call = { ...tool, input: null };
      const held = [...(agent.approvalRequiredTools ?? []), ...(agent.deniedTools ?? [])];
      return isListed(agent.allowedTools ?? ["*"], call) && !isHeldBack(held, call);
    }),
  }));
  const all = named.length > 0 ? named : [{ who: "an agent of this worker", tools: unasked }];
  return all.flatMap(({ who, tools }) => {
    const found = dangerousCombination(tools);
    return found === null ? [] : [combinationWarning(who, found)];
  });
}
