import {
  type Context,
  defaultTextMapGetter,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from "@opentelemetry/api";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import type { Outcome } from "../machines/contracts/domain/failure.ts";

const tracer = trace.getTracer("stateplane");

/** One span for one touch of the outside world, never with what went in or came out. */
export function traced<T>(name: string, work: () => Promise<Outcome<T>>): Promise<Outcome<T>> {
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

const propagator = new W3CTraceContextPropagator();

/** The trace that enqueued the job, to be continued; the root where the job names none, or names it badly. */
export function remoteContext(
  job: { traceId: string | null; spanId: string | null } | null,
): Context {
  if (job === null || job.traceId === null || job.spanId === null) return ROOT_CONTEXT;
  // The envelope has the two ids apart, and no flags: a trace that somebody names is meant to be seen.
  const carrier = { traceparent: `00-${job.traceId}-${job.spanId}-01` };
  return propagator.extract(ROOT_CONTEXT, carrier, defaultTextMapGetter);
}
