import { TraceFlags } from "@opentelemetry/api";
import { ExportResultCode } from "@opentelemetry/core";
import { BatchSpanProcessor, type ReadableSpan, type SpanExporter } from "@opentelemetry/sdk-trace";

/** Spans that wait for the collector; a burst of this many is held for about a second. */
const queueSize = 8192;

/**
 * A batch processor that counts what is lost. The SDK's own only mentions drops to a diagnostic log that nobody
 * reads; so the queue's limit is kept here, and batches that could not be delivered are counted too.
 */
export class CountingProcessor extends BatchSpanProcessor {
  #queued = 0;
  #dropped = 0;

  constructor(exporter: SpanExporter) {
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
  }

  override onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) === 0) return;
    if (this.#queued >= queueSize) {
      this.#dropped += 1;
      return;
    }
    this.#queued += 1;
    super.onEnd(span);
  }

  /** Spans lost so far: the queue was full, or the collector did not take them. */
  dropped(): number {
    return this.#dropped;
  }
}
