import type { RuntimePorts } from "../../actors/ports.ts";
import type { Boundary } from "./boundaries.ts";
import type { LedgerLine } from "./ledger.ts";

/** The same ports, telling of every boundary that a step passes. The production code has no hooks. */
export function wrapPorts(
  ports: RuntimePorts,
  reach: (boundary: Boundary) => void,
  note: (line: LedgerLine) => void,
): RuntimePorts {
  const { store, queue, controlPlane } = ports;
  const { pid } = process;

  async function around<T>(name: string, call: () => Promise<T>): Promise<T> {
    reach(`before:${name}` as Boundary);
    const answer = await call();
    reach(`after:${name}` as Boundary);
    return answer;
  }
  async function fenced<T>(write: string, call: () => Promise<T>): Promise<T> {
    const answer = await call();
    const isLost = answer === "lease-lost" || (answer as { kind?: string }).kind === "lease-lost";
    if (isLost) note({ kind: "refused", write, pid });
    return answer;
  }

  return {
    ...ports,
    queue: {
      ...queue,
      async renew(entryIds) {
        const lost = await queue.renew(entryIds);
        if (lost.length > 0) note({ kind: "refused", write: "renew", pid });
        return lost;
      },
      async claimStale(leaseMs, count) {
        const taken = await queue.claimStale(leaseMs, count);
        const again = taken.filter(({ deliveries }) => deliveries > 1).length;
        if (again > 0) note({ kind: "taken-over", jobs: again, pid });
        return taken;
      },
    },
    store: {
      ...store,
      open: (...given) => around("open", () => fenced("open", () => store.open(...given))),
      async append(lease, entries, durable) {
        const isBegun = entries[0]?.event === "begun";
        reach(isBegun ? "before:begin" : "after:effect");
        const written = await fenced("append", () => store.append(lease, entries, durable));
        reach(isBegun ? "after:begin" : "after:complete");
        return written;
      },
      record: (lease, result, path) =>
        around("record", () => fenced("record", () => store.record(lease, result, path))),
      park: (lease, parking) =>
        around("park", () => fenced("park", () => store.park(lease, parking))),
      settle: (lease, ending) =>
        around("settle", () => fenced("settle", () => store.settle(lease, ending))),
    },
    controlPlane: {
      ...controlPlane,
      checkTool: (check, signal) =>
        around("checkTool", () => controlPlane.checkTool(check, signal)),
      requestApproval: (step, ask, signal) =>
        around("requestApproval", () => controlPlane.requestApproval(step, ask, signal)),
      report: (report, signal) =>
        around(report.body.status === "waiting_approval" ? "reportWaiting" : "report", () =>
          controlPlane.report(report, signal),
        ),
    },
  };
}
