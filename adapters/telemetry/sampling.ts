import {
  type Context,
  context,
  createTraceState,
  isSpanContextValid,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  trace,
  TraceFlags,
} from "@opentelemetry/api";
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  SamplingDecision,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type TracerProviderOptions,
} from "@opentelemetry/sdk-trace";
import type { SamplerName } from "./otlp-url.ts";

/** @param ratio of the ratio samplers, from 0 to 1 */
export function samplerOf(name: SamplerName, ratio: number): Sampler {
  const [, kind = ""] = /^(?:parentbased_)?(.+)$/u.exec(name) ?? [];
  const own =
    kind === "traceidratio"
      ? new TraceIdRatioBasedSampler(ratio)
      : kind === "always_off"
        ? new AlwaysOffSampler()
        : new AlwaysOnSampler();
  return new RunSampler(
    name.startsWith("parentbased_") ? new ParentBasedSampler({ root: own }) : own,
  );
}

/**
 * A run whose request named no trace is given one by the control plane, and nobody has decided whether it is sampled: that
 * is asked as for a root, which all processes of one sampler answer alike. Such a span context says `stateplane=root`.
 */
class RunSampler implements Sampler {
  readonly #own: Sampler;

  constructor(own: Sampler) {
    this.#own = own;
  }

  shouldSample(...[above, ...rest]: Parameters<Sampler["shouldSample"]>) {
    const { isRemote = false, traceState } = trace.getSpanContext(above) ?? {};
    if (!isRemote || traceState?.get("stateplane") !== "root")
      return this.#own.shouldSample(above, ...rest);
    const result = this.#own.shouldSample(trace.deleteSpan(above), ...rest);
    return { ...result, traceState: createTraceState() };
  }

  toString(): string {
    return this.#own.toString();
  }
}

/**
 * Asks the sampler before the SDK does, which makes ids and counts before it asks: a third of what a step costs that is
 * not traced. What began elsewhere and is left out here goes on as its beginner named it, marked as not sampled.
 */
export class SamplingFirst extends TracerProvider {
  readonly #sampler: Sampler;

  constructor(options: TracerProviderOptions & { sampler: Sampler }) {
    super(options);
    this.#sampler = options.sampler;
  }

  override getTracer(...given: Parameters<TracerProvider["getTracer"]>) {
    const tracer = super.getTracer(...given);
    // One object for each name: it was seen to already.
    if (Object.hasOwn(tracer, "startSpan")) return tracer;
    const start = tracer.startSpan.bind(tracer);
    tracer.startSpan = (name, options = {}, above = context.active()) => {
      const begun = options.root === true ? undefined : trace.getSpanContext(above);
      return begun?.isRemote === true && this.#leavesOut(begun, name, options, above)
        ? trace.wrapSpanContext({
            traceId: begun.traceId,
            spanId: begun.spanId,
            traceFlags: TraceFlags.NONE,
            isRemote: false,
          })
        : start(name, options, above);
    };
    return tracer;
  }

  #leavesOut(begun: SpanContext, name: string, options: SpanOptions, above: Context): boolean {
    if (!isSpanContextValid(begun)) return false;
    const { kind = SpanKind.INTERNAL, attributes = {}, links = [] } = options;
    const { traceId } = begun;
    const { decision } = this.#sampler.shouldSample(above, traceId, name, kind, attributes, links);
    return decision === SamplingDecision.NOT_RECORD;
  }
}
