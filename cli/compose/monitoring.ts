import type { RuntimePorts } from "../../actors/ports.ts";
import type { RuntimeOptions } from "../../actors/options.ts";
import { type Runtime, startRuntime } from "../../actors/runtime.ts";
import type { Tracing } from "../../adapters/telemetry/tracing.ts";
import type { HealthCheck } from "../../adapters/telemetry/health-server.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { collectorHeaders } from "../config/collector-headers.ts";
import type { Config } from "../config/load-config.ts";
import type { Env } from "../config/secret-files.ts";
import type { Settings } from "../config/settings.ts";
import { secrets } from "../secrets.ts";
import { canLook } from "./look-at-tools.ts";
import { listenTrouble } from "./listen-trouble.ts";
import type { Closing } from "./start-worker.ts";

/** What is seen of a worker from outside. */
export interface Monitoring {
  /** Starts the worker's runtime, measured where anybody reads what it counts. */
  start(ports: RuntimePorts, options: RuntimeOptions): Promise<Runtime>;
}

/**
 * Traces and metrics to a collector, where one is set; health and metrics for who asks, where a port is set. A port that
 * can't be had is said once, and the worker works.
 */
export async function startMonitoring(
  { settings, sources }: Pick<Config, "settings" | "sources">,
  log: Log,
  closing: Closing,
  env: Env,
): Promise<Monitoring> {
  const { otlpEndpoint: endpoint, serviceName, httpPort, httpHost: host } = settings;
  const tracing = await startTraces(settings, log, env);
  if (tracing !== null) closing.add("tracing", () => tracing.shutdown());
  const sent = settings.metricsExporter === "otlp" ? endpoint : null;
  let watched: readonly HealthCheck[] = [{ name: "worker", look: () => "the worker starts" }];
  if (sent === null && httpPort === null) {
    return { start: async (ports, options) => startRuntime(ports, options) };
  }
  const { startMetrics } = await import("../../adapters/telemetry/metrics.ts");
  const everyMs = settings.metricsEveryMs;
  const headers = collectorHeaders("METRICS", env);
  const metrics = startMetrics({ endpoint: sent, everyMs, serviceName, headers, log });
  closing.add("metrics", () => metrics.shutdown());
  if (httpPort !== null) {
    const { startHealthServer } = await import("../../adapters/telemetry/health-server.ts");
    try {
      const server = await startHealthServer({
        host,
        port: httpPort,
        checks: () => watched,
        metrics: () => metrics.text(),
      });
      closing.add("health server", () => server.close());
      log.info({ url: server.url }, "health and metrics can be asked for");
    } catch (error) {
      const wanted = {
        host,
        port: httpPort,
        portKey: "httpPort",
        hostBy: "WORKER_HTTP_HOST",
      } as const;
      const trouble = listenTrouble(error, wanted, sources);
      log.warn({}, `health and metrics are not served, and the worker goes on without: ${trouble}`);
    }
  }
  const { measure } = await import("../../actors/metrics.ts");
  return {
    async start(ports, options) {
      const measured = measure(ports, options, metrics.meter);
      const runtime = startRuntime(measured.ports, measured.options);
      measured.watch(runtime);
      watched = checksOf(runtime, ports);
      return runtime;
    },
  };
}

/** Traces to a collector, where one is set; null where none is. OpenTelemetry's SDK is loaded by those who export. */
export async function startTraces(settings: Settings, log: Log, env: Env): Promise<Tracing | null> {
  const { otlpEndpoint: endpoint, serviceName, tracesSampler: sampler } = settings;
  if (endpoint === null) return null;
  const { startTracing } = await import("../../adapters/telemetry/tracing.ts");
  const headers = collectorHeaders("TRACES", env);
  const ratio = settings.tracesSamplerArg;
  const { redact: hide } = secrets;
  return startTracing({ endpoint, serviceName, headers, log, hide, sampler, ratio });
}

/** Each in words of ours: nothing that a neighbour says, which may hold anything, leaves without a key. */
function checksOf(runtime: Runtime, ports: RuntimePorts): HealthCheck[] {
  return [
    { name: "worker", look: () => workerTrouble(runtime) },
    {
      name: "store",
      look: () =>
        ports.queue.stats().then(
          () => null,
          () => "the store can't be asked",
        ),
    },
    {
      name: "control plane",
      look: async () => {
        const heard = await ports.controlPlane.ping(AbortSignal.timeout(2_000));
        return heard.ok ? null : `the control plane can't be asked: ${heard.failure.kind}`;
      },
    },
    { name: "tool servers", isRequired: false, look: () => serverTrouble(ports) },
  ];
}

function workerTrouble(runtime: Runtime): string | null {
  const { status, value, context } = runtime.snapshot();
  if (status !== "active") return "the worker has stopped";
  if (value === "draining") return "the worker drains";
  const { holding } = context;
  return holding.length === 0 ? null : `no jobs are taken because of ${holding.join(", ")}`;
}

/** Servers are started when they are first used, and started again: only what stays so is trouble. */
function serverTrouble({ tools }: RuntimePorts): string | null {
  if (!canLook(tools)) return null;
  const troubled = Object.entries(tools.states())
    .filter(([, state]) => state === "backing-off" || state === "quarantined")
    .map(([name, state]) => `${name} is ${state}`);
  return troubled.length === 0 ? null : troubled.join(", ");
}
