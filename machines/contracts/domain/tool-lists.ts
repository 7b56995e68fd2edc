/**
 * A tool as it is judged and called: the server that has it and its bare name there. A name in a job is resolved
 * to this pair first; `server` is null only where no configured server has a tool by that name.
 */
export interface ToolPair {
  server: string | null;
  name: string;
}

/**
 * Whether a list names the tool, as `tool` or as `server.tool`, exactly. Nothing is cut at a dot: MCP allows dots
 * in the names of tools, and servers have them in theirs. The worker and the embedded control plane both judge by
 * this one function.
 */
export function isListed(list: readonly string[], { server, name }: ToolPair): boolean {
  return list.includes(name) || (server !== null && list.includes(`${server}.${name}`));
}

/**
 * Whether some pair that `spelled` could be resolved to is named by `entry`. False is certain whatever servers
 * there are, so that a call which no list can let through is refused without asking any of them.
 */
export function couldMean(entry: string, spelled: string): boolean {
  return entry === spelled || entry.endsWith(`.${spelled}`) || spelled.endsWith(`.${entry}`);
}

/** The tool in the words of a message: `server.tool` once it is resolved. */
export const toolLabel = ({ server, name }: ToolPair): string =>
  server === null ? name : `${server}.${name}`;
