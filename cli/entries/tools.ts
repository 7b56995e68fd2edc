/** `stateplane/tools`: the tools of MCP servers, functions as tools, and both as one host. */
export { readConfig } from "../../adapters/mcp/config.ts";
export { createToolHost } from "../../adapters/mcp/host.ts";
export { createFunctionHost } from "../../adapters/functions/host.ts";
export { joinToolHosts } from "../../adapters/functions/join-hosts.ts";
