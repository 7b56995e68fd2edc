import { type Context, ROOT_CONTEXT, trace, TraceFlags } from "@opentelemetry/api";

const isHex = (text: string, length: number) =>
  text.length === length && /^[0-9a-f]+$/.test(text) && !/^0+$/.test(text);

/** The trace that enqueued the job, to be continued; the root where the job names none, or names it badly. */
export function remoteContext(
  job: { traceId: string | null; spanId: string | null } | null,
): Context {
  const { traceId = null, spanId = null } = job ?? {};
  if (traceId === null || spanId === null || !isHex(traceId, 32) || !isHex(spanId, 16)) {
    return ROOT_CONTEXT;
  }
  const remote = { traceId, spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, remote);
}
