import { setTimeout as sleep } from "node:timers/promises";
import {
  type Attributes,
  type AttributeValue,
  context,
  propagation,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator, ExportResultCode } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { otlpUrl, type SamplerName } from "./otlp-url.ts";
import { samplerOf, SamplingFirst } from "./sampling.ts";
import { cut } from "../../machines/contracts/domain/redact.ts";

export interface TracingOptions {
  /** As in `OTEL_EXPORTER_OTLP_ENDPOINT`; see {@link otlpUrl}. */
  endpoint: string;
  serviceName: string;
  /** Sent with every export; may hold the collector's key. */
  headers?: Record<string, string>;
  log?: Log;
  /** Sees every text of a span before it leaves. */
  hide?: (text: string) => string;
  /** As in `OTEL_TRACES_SAMPLER`; by default what a sampled trace asks for, and all that nobody asks about. */
  sampler?: SamplerName;
  /** Of the ratio samplers, from 0 to 1. */
  ratio?: number;
}

export interface Tracing {
  /**
   * Sends what is left, for three seconds at most, and takes tracing down. Never rejects, and leaves nothing behind
   * that keeps the process.
   */
  shutdown(): Promise<void>;
  /** Spans lost so far. */
  dropped(): number;
}

const shutdownTimeoutMs = 3000;
/**
 * Of one export, its retries included. Less than the shutdown's: the exporter's socket and timers keep the process for
 * as long as it tries, and can't be taken from it.
 */
const exportTimeoutMs = 2500;

/**
 * Makes `@opentelemetry/api` of this process record spans and send them as OTLP over HTTP. A process calls this
 * once, and not at all when it has no endpoint: the API is then inert.
 *
 * @throws TypeError when the endpoint is not an http or https URL
 */
export function startTracing(options: TracingOptions): Tracing {
  const { endpoint, serviceName, headers, log, hide } = options;
  const { sampler = "parentbased_always_on", ratio = 1 } = options;
  const { url, note } = otlpUrl(endpoint, "traces");
  if (note !== null) log?.warn({}, note);
  const processor = new CountingProcessor(
    new OTLPTraceExporter({
      url,
      headers: headers ?? {},
      timeoutMillis: exportTimeoutMs,
    }),
    hide,
  );
  const provider = new SamplingFirst({
    resource: defaultResource().merge(resourceFromAttributes({ "service.name": serviceName })),
    sampler: samplerOf(sampler, ratio),
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

/** Spans that wait for the collector; a burst of this many is held for about a second. */
const queueSize = 8192;

/**
 * A batch processor that counts what is lost. The SDK's own only mentions drops to a diagnostic log that nobody
 * reads; so the queue's limit is kept here, and batches that could not be delivered are counted too.
 */
export class CountingProcessor extends BatchSpanProcessor {
  #queued = 0;
  #dropped = 0;
  readonly #hide: ((text: string) => string) | undefined;

  constructor(exporter: SpanExporter, hide?: (text: string) => string) {
    const { maxQueueSize, maxExportBatchSize } = {
      maxQueueSize: queueSize,
      maxExportBatchSize: 512,
    };
    const watched: SpanExporter = {
      export: (spans, done) => {
        this.#queued -= spans.length;
        exporter.export(spans, (result) => {
          if (result.code !== ExportResultCode.SUCCESS) this.#dropped += spans.length;
          done(result);
        });
      },
      shutdown: () => exporter.shutdown(),
    };
    super({ exporter: watched, maxQueueSize, maxExportBatchSize, scheduledDelayMillis: 1000 });
    this.#hide = hide;
  }

  override onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (this.#queued >= queueSize) {
      this.#dropped += 1;
      return;
    }
    this.#queued += 1;
    if (this.#hide !== undefined) hideInSpan(span, this.#hide);
    super.onEnd(span);
  }

  /** Spans lost so far: the queue was full, or the collector did not take them. */
  dropped(): number {
    return this.#dropped;
  }
}

/** Of one text, characters that are looked at: far more than are kept, so that no secret is cut in two at the end. */
const longestLook = 100_000;

/** An ended span is this processor's own: nobody reads it before the exporter does. */
function hideInSpan(span: ReadableSpan, hide: (text: string) => string): void {
  const safe = (text: string) => cut(hide(cutText(text, longestLook)));
  hideInAttributes(span.attributes, safe);
  // Most events are a name alone.
  for (const { attributes } of [...span.events, ...span.links]) {
    if (attributes !== undefined) hideInAttributes(attributes, safe);
  }
  if (span.status.message !== undefined) span.status.message = safe(span.status.message);
}

function hideInAttributes(attributes: Attributes, safe: (text: string) => string): void {
  for (const key of Object.keys(attributes)) {
    const value = attributes[key];
    if (typeof value === "string") attributes[key] = safe(value);
    else if (typeof value === "object") attributes[key] = hideWithin(value, safe) as AttributeValue;
  }
}

/** Lists, and whatever else the SDK takes: it has looked at it already, and what it holds is a copy. */
function hideWithin(value: unknown, safe: (text: string) => string): unknown {
  if (typeof value === "string") return safe(value);
  if (Array.isArray(value)) return value.map((item) => hideWithin(item, safe));
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, hideWithin(item, safe)]),
  );
}
