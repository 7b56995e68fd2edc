import {
  type Context,
  createTraceState,
  INVALID_SPAN_CONTEXT,
  ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import type { Job } from "../machines/contracts/domain/job.ts";
import type { Outcome } from "../machines/contracts/domain/failure.ts";

const tracer = trace.getTracer("stateplane");

/** What the API hands out as long as nobody has set a provider. */
const nobody = new ProxyTracerProvider().getDelegate();

/** Whether spans are recorded in this process. Where they are not, none is made. */
export function isTracingOn(): boolean {
  const provider = trace.getTracerProvider();
  return !(provider instanceof ProxyTracerProvider) || provider.getDelegate() !== nobody;
}

/** The span of what nobody traces: one for all. */
export const inertSpan: Span = trace.wrapSpanContext(INVALID_SPAN_CONTEXT);

/** Whether the step at work is not sampled: then nor is anything below it, and no span need be made to find that out. */
export function isLeftOut(): boolean {
  const above = trace.getActiveSpan();
  return above !== undefined && !above.isRecording();
}

/**
 * One span for one touch of the outside world, never with what went in or came out; none where that of the step is not
 * recorded.
 */
export function traced<T>(
  { span: above }: { span: Span },
  name: string,
  work: () => Promise<Outcome<T>>,
): Promise<Outcome<T>> {
  if (!above.isRecording()) return work();
  return tracer.startActiveSpan(name, async (span) => {
    try {
      const outcome = await work();
      span.setAttribute("stateplane.effect.ok", outcome.ok);
      if (!outcome.ok) {
        span.setStatus({ code: SpanStatusCode.ERROR, message: outcome.failure.kind });
      }
      return outcome;
    } finally {
      span.end();
    }
  });
}

const isId = (text: string, length: number) =>
  text.length === length && /^(?!0+$)[0-9a-f]+$/.test(text);

/**
 * The trace that enqueued the job, to be continued; the root where the job names none, or names it badly. Not by
 * OpenTelemetry's propagator: the envelope has the two ids apart, and the propagator's package is a hundred modules.
 */
export function remoteContext(
  job: Pick<Job, "traceId" | "spanId" | "isTraceRoot"> | null,
): Context {
  const { traceId = null, spanId = null, isTraceRoot } = job ?? {};
  if (traceId === null || spanId === null || !isId(traceId, 32) || !isId(spanId, 16)) {
    return ROOT_CONTEXT;
  }
  // The envelope has no flags: a trace that somebody names is meant to be seen.
  const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  if (isTraceRoot !== true || !isTracingOn()) return trace.setSpanContext(ROOT_CONTEXT, remote);
  // Told to the sampler, which takes it away again.
  const traceState = createTraceState("stateplane=root");
  return trace.setSpanContext(ROOT_CONTEXT, { ...remote, traceState });
}

/** Trace and span as they are kept with a step, `TRACE-SPAN`, for a later attempt to link to; nothing where none is recorded. */
export function keptSpan(span: Span): { span?: string } {
  if (!span.isRecording()) return {};
  const { traceId, spanId } = span.spanContext();
  return { span: `${traceId}-${spanId}` };
}

/** Links a span to one that {@link keptSpan} kept; what a store kept badly is no link. */
export function linkSpan(span: Span, kept: unknown, why: "parked" | "interrupted"): void {
  const [traceId = "", spanId = ""] = typeof kept === "string" ? kept.split("-") : [];
  if (!isId(traceId, 32) || !isId(spanId, 16)) return;
  const context = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  span.addLink({ context, attributes: { "stateplane.link": why } });
}
