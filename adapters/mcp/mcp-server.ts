/**
 * One configured MCP server: a `command` that we start and speak to over its standard streams, or the `url`
 * of one that runs elsewhere (streamable HTTP). Exactly one of the two.
 */
export interface McpServer {
  name: string;
  command?: string;
  args?: string[];
  /** All that the child sees beyond HOME, LOGNAME, PATH, SHELL, TERM and USER. */
  env?: Record<string, string>;
  cwd?: string;
  url?: string;
  /** Sent with every request to `url`. */
  headers?: Record<string, string>;
}
