import { randomBytes } from "node:crypto";
import {
  isSpanContextValid,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import type { RunTrace } from "../changes/create-run.ts";

const shape = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$/;

/**
 * Trace and span of a W3C `traceparent` header (Trace Context level 1, 3.2): version 00 as written, later
 * versions by their first four fields. Anything else counts as no header.
 */
export function readTraceparent(header: string | undefined): RunTrace | null {
  const [, version, traceId, spanId, more] = shape.exec(header?.trim() ?? "") ?? [];
  if (version === undefined || traceId === undefined || spanId === undefined) return null;
  if (version === "ff" || (version === "00" && more !== undefined)) return null;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return null;
  return { traceId, spanId };
}

/**
 * Makes a run within a span `create_run`, which its steps are below, and which is below the span that asked for the run,
 * if its request names one. A run outlives this process, so the span is that of its making alone. Where nobody traces
 * here, the run gets the ids of its request, or fresh ones: its workers may trace.
 *
 * @param header the request's `traceparent`
 */
export async function inRunSpan<R extends { id: string; agentId: string; spanId: string | null }>(
  header: string | undefined,
  make: (trace: RunTrace) => Promise<R>,
): Promise<R> {
  const above = readTraceparent(header);
  // The header's flags are not asked: a trace that somebody names is meant to be seen, here as in a worker.
  const parent =
    above === null
      ? ROOT_CONTEXT
      : trace.setSpanContext(ROOT_CONTEXT, {
          ...above,
          traceFlags: TraceFlags.SAMPLED,
          isRemote: true,
        });
  const tracer = trace.getTracer("stateplane");
  const span = tracer.startSpan("create_run", { kind: SpanKind.PRODUCER }, parent);
  const own = span.spanContext();
  const fresh = () => ({
    traceId: randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
  });
  const { traceId, spanId } = isSpanContextValid(own) ? own : (above ?? fresh());
  const isRoot = above === null ? { isRoot: true as const } : {};
  const run = await make({ traceId, spanId, ...isRoot }).catch((error: unknown) => {
    span.setStatus({ code: SpanStatusCode.ERROR }).end();
    throw error;
  });
  // A run that was there before has a span of its own; this one is never ended, and so never told.
  if (run.spanId !== spanId) return run;
  span.setAttributes({ "ferrumdeck.run.id": run.id, "ferrumdeck.agent.id": run.agentId }).end();
  return run;
}
