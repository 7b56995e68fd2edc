/** The moments of a step's life at which a test may end or stop a worker, in the order they are passed. */
export const boundaries = [
  "before:open",
  "after:open",
  "before:checkTool",
  "after:checkTool",
  "before:requestApproval",
  "after:requestApproval",
  "before:reportWaiting",
  "after:reportWaiting",
  "before:park",
  "after:park",
  "before:begin",
  "after:begin",
  "during:effect",
  "after:effect",
  "after:complete",
  "before:record",
  "after:record",
  "before:report",
  "after:report",
  "before:settle",
  "after:settle",
] as const;

/**
 * `begin` and `complete` are the journal's two lines about an effect. `during:effect` has touched the world and
 * has no answer yet; at `after:effect` the answer is there and not yet journalled.
 */
export type Boundary = (typeof boundaries)[number];

/** What a worker does to itself when it comes to a boundary for the `count`-th time. */
export interface Crash {
  deed: "kill" | "stop";
  at: Boundary;
  count: number;
}

/**
 * Does the deed when its moment comes. SIGKILL and SIGSTOP reach the process before the call that sent them
 * returns, so nothing of ours runs in between.
 */
export function crashAt(crash: Crash | null): (boundary: Boundary) => void {
  let passed = 0;
  return (boundary) => {
    if (crash?.at !== boundary) return;
    passed += 1;
    if (passed !== crash.count) return;
    process.kill(process.pid, crash.deed === "kill" ? "SIGKILL" : "SIGSTOP");
  };
}
