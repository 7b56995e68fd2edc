/**
 * One configured MCP server: a `command` that we start and speak to over its standard streams, or the `url`
 * of one that runs elsewhere. Exactly one of the two.
 */
export interface McpServer {
  name: string;
  command?: string;
  args?: string[];
  /** All that the child sees beyond HOME, LOGNAME, PATH, SHELL, TERM and USER. */
  env?: Record<string, string>;
  cwd?: string;
  /** `own`: in a process namespace of its own, so that it sees, signals and looks into no process of this worker's. */
  processes?: "own";
  url?: string;
  /**
   * How to speak to `url`: `http` is streamable HTTP, `sse` the older transport of two channels. Left out, it is
   * whichever the server speaks.
   */
  transport?: "http" | "sse";
  /** Sent with every request to `url`. */
  headers?: Record<string, string>;
  /** Sent to `url` as `Authorization: Bearer …`. */
  bearerToken?: string;
  /**
   * A client of its own at the authorization server of `url`: OAuth 2.1's client credentials grant. With `issuer` the
   * secret goes to that authorization server alone; without, to whichever the server at `url` names.
   */
  oauth?: { clientId: string; clientSecret: string; scope?: string; issuer?: string };
  /** Milliseconds for a connect, a list and a call, in place of the worker's own. */
  timeoutMs?: number;
  /** `eager`: connected to at once and again after each loss; otherwise when it is first used. */
  start?: "eager" | "lazy";
  /** What all its calls together may take. */
  limits?: McpLimits;
  /** What the calls of one tool may take beside that, by the tool's own name. */
  toolLimits?: Record<string, McpLimits>;
}

export interface McpLimits {
  /** Milliseconds from the call, or from the last sign of progress, until the answer. */
  timeoutMs?: number;
  /** Milliseconds that a call may take in all, whatever progress it shows; 20 times the former unless given. */
  maxTimeoutMs?: number;
  /** Calls under way at once; more wait for their turn. */
  concurrency?: number;
  /** Calls that may begin within any minute; more fail as `rate_limited`, to be tried again. */
  callsPerMinute?: number;
  /** Bytes of an answer, as JSON. */
  outputBytes?: number;
}
