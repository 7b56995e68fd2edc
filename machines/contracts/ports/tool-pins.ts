/**
 * What was accepted of each tool server, where every worker of the same jobs reads it: a text a server, written and read
 * by whoever compares tools. Every method rejects only with a `StoreError`.
 */
export interface ToolPins {
  /** Null for a server of which nothing was kept. */
  find(server: string): Promise<string | null>;
  /** Keeps the pin unless there is one; returns the one that is kept. Of two at once, both get the same answer. */
  keepFirst(server: string, pin: string): Promise<string>;
  /** Puts it in the place of whatever is kept. */
  replace(server: string, pin: string): Promise<void>;
}
