import { toolLabel, type ToolPair } from "../tool-lists.ts";
import { isReaching, isRunner } from "./leaves.ts";

/*
 * What becomes of private data, untrusted content and a way out, in one agent: a text that it reads can make it send
 * what it knows. No one of its tools is to blame, so nobody sees it in a list. Tools are told by their names, which say
 * what they do more often than anything else about them; what a name does not say is not found.
 */

export interface ToolOfAgent extends ToolPair {
  isReadOnly: boolean;
}

export interface Combination {
  privateData: string;
  untrusted: string;
  wayOut: string;
}

const words = (names: string) => new RegExp(`(?:^|[_./-])(?:${names})(?=[_./-]|$)`, "u");
const spelled = ({ server, name }: ToolPair): string =>
  `${server ?? ""}/${name}`.replaceAll(/([a-z0-9])([A-Z])/gu, "$1_$2").toLowerCase();

const holds = words(
  "file|files|filesystem|fs|document|documents|drive|mail|email|emails|inbox|message|messages|database|db|sql|postgres|sqlite|query|customer|customers|account|accounts|order|orders|calendar|contacts|notes|memory|repo|repository|git|code|secret|secrets|vault|log|logs|ticket|tickets|crm",
);
const strangers = words(
  "web|http|https|fetch|url|browse|browser|browser_navigate|navigate|page|pages|scrape|crawl|rss|feed|mail|email|emails|inbox|issue|issues|comment|comments|pull_request|pull_requests|review|reviews|ticket|tickets|news|search_web|web_search",
);
const sends = words(
  "send|post|publish|upload|push|share|reply|comment|tweet|webhook|http|https|fetch|curl|request|browse|browser|navigate|create_issue|create_pull_request|create_pr|create_gist|write_page|export|forward|slack",
);
const reads = words(
  "read|get|list|search|find|query|select|show|view|fetch|open|load|log|diff|status",
);

const isPrivate = (tool: ToolOfAgent): boolean =>
  isRunner(tool.name) ||
  (holds.test(spelled(tool)) && (tool.isReadOnly || reads.test(spelled(tool))));
const isUntrusted = (tool: ToolOfAgent): boolean => strangers.test(spelled(tool));
const isWayOut = (tool: ToolOfAgent): boolean =>
  isRunner(tool.name) || isReaching(tool.name) || sends.test(spelled(tool));

/**
 * The first tool of each kind, where an agent has all three.
 *
 * @param tools those that it may call without asking a person
 */
export function dangerousCombination(tools: readonly ToolOfAgent[]): Combination | null {
  const [privateData, untrusted, wayOut] = [isPrivate, isUntrusted, isWayOut].map((isOne) =>
    tools.find(isOne),
  );
  if (privateData === undefined || untrusted === undefined || wayOut === undefined) return null;
  return {
    privateData: toolLabel(privateData),
    untrusted: toolLabel(untrusted),
    wayOut: toolLabel(wayOut),
  };
}

export const combinationWarning = (agent: string, found: Combination): string =>
  `${agent} may, without asking a person, read private data (${found.privateData}), read what strangers write (${found.untrusted}) and send data out (${found.wayOut}): a text that it reads can make it send what it knows. Put ${found.wayOut} on the list of tools that need approval, limit its hosts (airlock.exfiltration.allowedHosts), or give the three to different agents`;
