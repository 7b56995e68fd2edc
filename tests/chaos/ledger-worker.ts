import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { defaultOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { type Runtime, startRuntime, systemClock } from "../../actors/runtime.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { type Crash, crashAt } from "./boundaries.ts";
import { Ledger } from "./ledger.ts";
import {
  allowed,
  asked,
  ledgerRetriever,
  ledgerModel,
  ledgerTools,
  type TouchWorld,
} from "./ledger-effects.ts";
import { wrapPorts } from "./wrap-ports.ts";

/** All that a worker of the crash tests is told: JSON, since it crosses to another process. Milliseconds. */
export interface LedgerWorkerOptions {
  redisUrl: string;
  prefix: string;
  controlPlane: { url: string; apiKey: string };
  artifacts: string;
  ledger: string;
  leaseMs: number;
  capacity: number;
  /** The shortest and the longest that an effect takes. */
  effectMs: [number, number];
  /** What SIGTERM leaves it to finish. */
  drainMs: number;
  crash: Crash | null;
  /** Whether every boundary passed is a line in the ledger. */
  traced: boolean;
}

/** A whole worker on a real Redis, with the runtime and the adapters that ship; only its tools are the ledger's. */
export async function startLedgerWorker(
  options: LedgerWorkerOptions,
): Promise<{ runtime: Runtime; close(): Promise<void> }> {
  const ledger = new Ledger(options.ledger);
  const { pid } = process;
  const crash = crashAt(options.crash);
  const reach: typeof crash = (boundary) => {
    if (options.traced) ledger.add({ kind: "passed", boundary, pid });
    crash(boundary);
  };
  const [shortest, longest] = options.effectMs;
  const touch: TouchWorld = async (deed, signal) => {
    ledger.add({ kind: "touch", ...deed, pid, at: Date.now() });
    reach("during:effect");
    const wait = shortest + Math.random() * (longest - shortest);
    if (wait > 0) await sleep(wait, undefined, { signal });
  };

  const backend = await createRedisBackend({
    url: options.redisUrl,
    prefix: options.prefix,
    consumer: `chaos-${pid}-${randomBytes(4).toString("hex")}`,
  });
  const api = createControlPlaneApi({ ...options.controlPlane, timeoutMs: 5_000 });
  const ports: RuntimePorts = {
    queue: backend.queue,
    store: backend.store,
    controlPlane: createControlPlane(api),
    watchRuns: (onChange, signal) => watchRuns(api, onChange, signal),
    models: ledgerModel(touch),
    tools: ledgerTools(touch),
    sandbox: { missing: "no sandbox here" },
    schemas: createSchemaChecker(),
    retrievers: { local: ledgerRetriever(touch), http: null },
    artifacts: createArtifactFolder({ path: options.artifacts, isShared: true }),
    clock: systemClock,
    log: logToStderr,
  };
  const runtime = startRuntime(
    wrapPorts(ports, reach, (line) => ledger.add(line)),
    {
      ...defaultOptions,
      capacity: options.capacity,
      leaseMs: options.leaseMs,
      // Workers die here by design, and the cap on deliveries is another test's.
      maxDeliveries: 1_000,
      limits: { ...defaultOptions.limits, maxAttempts: 20, baseDelayMs: 50, maxDelayMs: 2_000 },
      allowlist: { allowed: [...allowed, ...asked], approvalRequired: [], denied: [] },
    },
  );
  return {
    runtime,
    async close() {
      await runtime.stop();
      await api.close();
      await backend.close();
    },
  };
}

const silent = () => {};

/** Only what is wrong with the worker itself; that others fail is the test's doing. */
const logToStderr: RuntimePorts["log"] = {
  debug: silent,
  info: silent,
  warn: silent,
  error(fields, message) {
    const { err } = fields as { err?: unknown };
    const why = err instanceof Error ? (err.stack ?? err.message) : JSON.stringify(fields);
    process.stderr.write(`worker ${process.pid}: ${message}: ${why}\n`);
  },
};
