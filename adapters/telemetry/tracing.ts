import { setTimeout as sleep } from "node:timers/promises";
import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import { TracerProvider } from "@opentelemetry/sdk-trace";
import type { Log } from "../../machines/contracts/ports/log.ts";
import { CountingProcessor } from "./counting-processor.ts";
import { tracesUrl } from "./traces-url.ts";

export interface TracingOptions {
  /** As in `OTEL_EXPORTER_OTLP_ENDPOINT`; see {@link tracesUrl}. */
  endpoint: string;
  serviceName: string;
  /** Sent with every export; may hold the collector's key. */
  headers?: Record<string, string>;
  log?: Log;
}

export interface Tracing {
  /** Sends what is left, for three seconds at most, and takes tracing down. Never rejects. */
  shutdown(): Promise<void>;
  /** Spans lost so far. */
  dropped(): number;
}

const exportTimeoutMs = 5000;
const shutdownTimeoutMs = 3000;

/**
 * Makes `@opentelemetry/api` of this process record spans and send them as OTLP over HTTP. A process calls this
 * once, and not at all when it has no endpoint: the API is then inert.
 *
 * @throws TypeError when the endpoint is not an http or https URL
 */
export function startTracing({ endpoint, serviceName, headers, log }: TracingOptions): Tracing {
  const { url, note } = tracesUrl(endpoint);
  if (note !== null) log?.warn({}, note);
  const processor = new CountingProcessor(
    new OTLPTraceExporter({ url, headers: headers ?? {}, timeoutMillis: exportTimeoutMs }),
  );
  const provider = new TracerProvider({
    resource: defaultResource().merge(resourceFromAttributes({ "service.name": serviceName })),
    spanProcessors: [processor],
  });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());

  return {
    dropped: () => processor.dropped(),
    async shutdown() {
      // Rejects when the collector is gone; what that cost is counted as dropped.
      const ended = provider.shutdown().catch(() => {});
      await Promise.race([ended, sleep(shutdownTimeoutMs, undefined, { ref: false })]);
      trace.disable();
      context.disable();
      propagation.disable();
      const dropped = processor.dropped();
      if (dropped > 0) log?.warn({ dropped }, "spans were lost on the way to the collector");
    },
  };
}
