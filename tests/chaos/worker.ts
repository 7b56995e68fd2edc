import { StoreUnreachable } from "../../machines/contracts/domain/errors.ts";
import { type LedgerWorkerOptions, startLedgerWorker } from "./ledger-worker.ts";

/**
 * A worker process for the crash tests; see spawn-worker.ts. SIGTERM drains it, a second signal hands back at
 * once, and it never outlives whoever started it.
 */
const options = JSON.parse(process.env["STATEPLANE_CHAOS_WORKER"] ?? "") as LedgerWorkerOptions;
const worker = await startLedgerWorker(options).catch((error: unknown) => {
  // Redis may be away just now: whoever started us starts another.
  if (error instanceof StoreUnreachable) process.exit(1);
  throw error;
});

const drain = () => {
  void worker.runtime.drain(options.drainMs);
  if (process.connected) process.send?.("draining");
};
process.on("SIGTERM", drain);
process.on("SIGINT", drain);
const orphaned = () => process.exit(1);
process.on("disconnect", orphaned);
process.send?.("ready");
process.channel?.unref();

const { fault } = await worker.runtime.ended;
await worker.close();
if (fault !== null) {
  process.stderr.write(`worker ${process.pid}: ${fault}\n`);
  process.exitCode = 1;
}
process.off("disconnect", orphaned);
process.disconnect?.();
