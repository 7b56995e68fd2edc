import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { metrics } from "@opentelemetry/api";
import { ExportResultCode } from "@opentelemetry/core";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type MetricData,
  type MetricReader,
  MeterProvider,
  PeriodicExportingMetricReader,
  type ResourceMetrics,
} from "@opentelemetry/sdk-metrics";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Meter } from "../../machines/contracts/ports/meter.ts";
import { SummingMeter } from "./meter.ts";
import { otlpUrl } from "./otlp-url.ts";

export interface MetricsOptions {
  /** As in `OTEL_EXPORTER_OTLP_ENDPOINT`; null where metrics are only read from us. */
  endpoint: string | null;
  /** How often they are sent there, milliseconds. */
  everyMs: number;
  serviceName: string;
  /** Sent with every export; may hold the collector's key. */
  headers?: Record<string, string>;
  log: Log;
}

export interface Metrics {
  /** What this process counts. Who counts by OpenTelemetry's API is read, too. */
  meter: Meter;
  /** All that was counted, in Prometheus' text format. */
  text(): Promise<string>;
  /** Sends what was counted, for three seconds at most, and takes metrics down. Never rejects. */
  shutdown(): Promise<void>;
}

const shutdownTimeoutMs = 3_000;
/** Of one export, its retries included; less than the shutdown's, since its socket keeps the process. */
const exportTimeoutMs = 2_500;
/** Of the event loop's delay, milliseconds between two looks. */
const lookEveryMs = 20;

/**
 * Makes `@opentelemetry/api` of this process record metrics, and sends them as OTLP over HTTP where there is an
 * endpoint. A process calls this once, before any instrument is made.
 *
 * @throws TypeError when the endpoint is not an http or https URL
 */
export function startMetrics({
  endpoint,
  everyMs,
  serviceName,
  headers = {},
  log,
}: MetricsOptions): Metrics {
  const meter = new SummingMeter();
  const forReading = new PrometheusExporter({
    preventServerStart: true,
    metricProducers: [meter.producer(() => AggregationTemporality.CUMULATIVE)],
  });
  const readers: MetricReader[] = [forReading];
  if (endpoint !== null) {
    const { url } = otlpUrl(endpoint, "metrics");
    const exporter = new OTLPMetricExporter({ url, headers, timeoutMillis: exportTimeoutMs });
    readers.push(
      new PeriodicExportingMetricReader({
        exporter: sayingOnce(exporter, log),
        metricProducers: [meter.producer((type) => exporter.selectAggregationTemporality(type))],
        exportIntervalMillis: everyMs,
        exportTimeoutMillis: Math.min(everyMs, exportTimeoutMs),
      }),
    );
  }
  const provider = new MeterProvider({
    resource: defaultResource().merge(resourceFromAttributes({ "service.name": serviceName })),
    readers,
  });
  metrics.setGlobalMeterProvider(provider);
  const unwatch = watchEventLoop(meter);
  return {
    meter,
    text: async () => toText((await forReading.collect()).resourceMetrics),
    async shutdown() {
      unwatch();
      // Rejects when the collector is gone.
      const ended = provider.shutdown().catch(() => {});
      await Promise.race([ended, sleep(shutdownTimeoutMs, undefined, { ref: false })]);
      metrics.disable();
    },
  };
}

const serializer = new PrometheusSerializer(undefined, false, undefined, false, true);

/** By the names that a collector would give: what is counted in seconds says so. The exporter leaves that out. */
function toText(collected: ResourceMetrics): string {
  const named = ({ descriptor, ...rest }: MetricData): MetricData => {
    const suffix = suffixes[descriptor.unit];
    const name = suffix === undefined ? descriptor.name : `${descriptor.name}_${suffix}`;
    return { ...rest, descriptor: { ...descriptor, name, unit: "" } } as MetricData;
  };
  const scopeMetrics = collected.scopeMetrics.map((scope) => ({
    ...scope,
    metrics: scope.metrics.map(named),
  }));
  return serializer.serialize({ ...collected, scopeMetrics });
}

const suffixes: Readonly<Record<string, string>> = { s: "seconds", "{USD}": "usd" };

/** What a collector did not take comes with the next export, since all are sums; so its absence is said once. */
function sayingOnce(exporter: OTLPMetricExporter, log: Log): OTLPMetricExporter {
  let isFailing = false;
  const send = exporter.export.bind(exporter);
  exporter.export = (batch, done) =>
    send(batch, (result) => {
      const fails = result.code !== ExportResultCode.SUCCESS;
      if (fails && !isFailing) {
        log.warn({ err: result.error }, "the collector does not take metrics; trying on");
      }
      isFailing = fails;
      done({ code: ExportResultCode.SUCCESS });
    });
  return exporter;
}

/** By OpenTelemetry's conventions for Node. What is told is since the last look. */
function watchEventLoop(meter: Meter): () => void {
  const delay = monitorEventLoopDelay({ resolution: lookEveryMs });
  delay.enable();
  const gauge = (name: string, description: string) =>
    meter.createGauge(`nodejs.eventloop.delay.${name}`, { unit: "s", description });
  const [p50, p99, max] = [
    gauge("p50", "Median delay of the event loop."),
    gauge("p99", "99th percentile of the event loop's delay."),
    gauge("max", "Longest delay of the event loop."),
  ];
  meter.onRead((show) => {
    // The histogram counts from one look to the next, which is no delay.
    const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - lookEveryMs / 1_000);
    show(p50, late(delay.percentile(50)));
    show(p99, late(delay.percentile(99)));
    show(max, late(delay.max));
    delay.reset();
  });
  return () => delay.disable();
}
