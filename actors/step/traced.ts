import { SpanStatusCode, trace } from "@opentelemetry/api";
import type { Outcome } from "../../machines/contracts/outcome.ts";

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
