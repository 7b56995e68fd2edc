import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { McpServer } from "../../adapters/mcp/config.ts";

/** The program of an installed package, as `npx` would start it. */
export function programOf(name: string): string {
  const file = (path: string): string =>
    fileURLToPath(new URL(`../../node_modules/${name}/${path}`, import.meta.url));
  const { bin } = JSON.parse(readFileSync(file("package.json"), "utf8")) as {
    bin: string | Record<string, string>;
  };
  return file(typeof bin === "string" ? bin : (Object.values(bin)[0] ?? ""));
}

export const npmServer = (
  name: string,
  args: string[] = [],
  env: Record<string, string> = {},
): McpServer => ({ name, command: process.execPath, args: [programOf(name), ...args], env });

/** Much-installed servers that start without a key, each with a tool that it has. */
export const popularServers: [server: McpServer, tool: string][] = [
  [npmServer("@modelcontextprotocol/server-everything"), "echo"],
  [npmServer("@modelcontextprotocol/server-sequential-thinking"), "sequentialthinking"],
  [npmServer("@modelcontextprotocol/server-github"), "create_issue"],
  [npmServer("@modelcontextprotocol/server-postgres", ["postgres://127.0.0.1:1/none"]), "query"],
  [npmServer("@upstash/context7-mcp"), "resolve-library-id"],
  [npmServer("chrome-devtools-mcp"), "click"],
  [npmServer("mcp-hello-world"), "echo"],
  [npmServer("@antv/mcp-server-chart"), "generate_bar_chart"],
  [npmServer("@drawio/mcp"), "open_drawio_xml"],
  [npmServer("mcp-server-code-runner"), "run-code"],
  [npmServer("@openbnb/mcp-server-airbnb"), "airbnb_search"],
  [npmServer("@browsermcp/mcp"), "browser_navigate"],
  [npmServer("tavily-mcp"), "tavily_search"],
];
