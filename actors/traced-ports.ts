import { type Attributes, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import type { Outcome } from "../machines/contracts/domain/failure.ts";
import { type Usage, usageOfFailure } from "../machines/contracts/domain/step-result.ts";
import type { ModelReply, ModelRequest } from "../machines/contracts/ports/model-provider.ts";
import { type RuntimePorts, withVerb } from "./ports.ts";
import {
  ferrumdeckTool,
  ferrumdeckToolEnd,
  ferrumdeckUsage,
  spanOfVerdict,
} from "./ferrumdeck-spans.ts";
import type { RuntimeOptions, SpanOptions } from "./options.ts";
import { argumentsContent, replyContent, requestContent, resultContent } from "./span-content.ts";
import { isLeftOut } from "./tracing.ts";

/*
 * One span for each call of a model and a tool, below that of the effect, which is the journal's. Names and attributes
 * are those of OpenTelemetry's conventions for generative AI and MCP; ours stand beside them with our own prefix. What
 * was said, asked and answered is in none, unless the worker is told to write it down (span-content.ts).
 */

const tracer = trace.getTracer("stateplane");

/** The same worker, traced: its calls of models and tools, and its verdicts where its options ask for them. */
export function traceRuntime(
  ports: RuntimePorts,
  options: RuntimeOptions,
): { ports: RuntimePorts; options: RuntimeOptions } {
  const { spans = {}, onVerdict } = options;
  const seen = tracePorts(ports, spans);
  if (spans.hasFerrumdeckNames !== true) return { ports: seen, options };
  return {
    ports: seen,
    options: {
      ...options,
      onVerdict(verdict, action) {
        spanOfVerdict(verdict, action);
        onVerdict?.(verdict, action);
      },
    },
  };
}

function tracePorts(ports: RuntimePorts, more: SpanOptions): RuntimePorts {
  const { models, tools } = ports;
  const { hasContent = false, hasFerrumdeckNames = false } = more;
  return {
    ...ports,
    models: withVerb(models, "complete", (request, signal, onPart) =>
      traced(
        `chat ${request.model}`,
        { ...requestAttributes(request), ...(hasContent ? requestContent(request) : {}) },
        () => models.complete(request, signal, onPart),
        (reply) => ({
          ...replyAttributes(reply),
          ...(hasContent ? replyContent(reply) : {}),
          ...(hasFerrumdeckNames ? ferrumdeckUsage(reply.provider, reply.usage) : {}),
        }),
      ),
    ),
    tools: withVerb(tools, "call", (target, input, ...given) =>
      traced(
        `tools/call ${target.name}`,
        {
          "mcp.method.name": "tools/call",
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": target.name,
          "stateplane.tool.server": target.server,
          ...(hasContent ? argumentsContent(input) : {}),
          ...(hasFerrumdeckNames ? ferrumdeckTool(target) : {}),
        },
        () => tools.call(target, input, ...given),
        ({ content }) => ({
          ...(hasContent ? resultContent(content) : {}),
          ...(hasFerrumdeckNames ? ferrumdeckToolEnd(true) : {}),
        }),
        hasFerrumdeckNames ? ferrumdeckToolEnd(false) : {},
      ),
    ),
  };
}

function traced<T>(
  name: string,
  attributes: Attributes,
  work: () => Promise<Outcome<T>>,
  learned: (value: T) => Attributes,
  failed: Attributes = {},
): Promise<Outcome<T>> {
  if (isLeftOut()) return work();
  return tracer.startActiveSpan(name, { kind: SpanKind.CLIENT, attributes }, async (span) => {
    try {
      const outcome = await work();
      if (outcome.ok) span.setAttributes(learned(outcome.value));
      else noteFailure(span.setAttributes(failed), outcome);
      return outcome;
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR });
      span.setAttribute("error.type", error instanceof Error ? error.name : "thrown");
      throw error;
    } finally {
      span.end();
    }
  });
}

function noteFailure(span: Span, { failure }: Extract<Outcome<never>, { ok: false }>): void {
  span.setStatus({ code: SpanStatusCode.ERROR, message: failure.kind });
  const used = usageOfFailure(failure);
  span.setAttributes({
    "error.type": failure.kind,
    ...(used === null ? {} : usageAttributes(used)),
  });
}

const requestAttributes = ({ model, maxTokens, temperature }: ModelRequest): Attributes => ({
  "gen_ai.operation.name": "chat",
  "gen_ai.request.model": model,
  "gen_ai.request.max_tokens": maxTokens,
  "gen_ai.request.stream": true,
  ...(temperature === undefined ? {} : { "gen_ai.request.temperature": temperature }),
});

const replyAttributes = ({
  provider,
  model,
  finishReason,
  usage,
  ...rest
}: ModelReply): Attributes => ({
  "gen_ai.provider.name": provider,
  "gen_ai.response.model": model,
  "gen_ai.response.finish_reasons": [finishReason],
  ...usageAttributes(usage),
  ...(rest.scripted === true ? { "stateplane.model.scripted": true } : {}),
  ...(rest.attempts === undefined ? {} : { "stateplane.model.attempts": rest.attempts.length + 1 }),
});

const usageAttributes = (usage: Usage): Attributes => ({
  "gen_ai.usage.input_tokens": usage.inputTokens,
  "gen_ai.usage.output_tokens": usage.outputTokens,
  ...present("gen_ai.usage.cache_read.input_tokens", usage.cacheReadTokens),
  ...present("gen_ai.usage.cache_creation.input_tokens", written(usage)),
  ...present("gen_ai.usage.reasoning.output_tokens", usage.reasoningTokens),
  ...present("stateplane.cost.micros", usage.costMicros),
});

const present = (name: string, value: number | undefined): Attributes =>
  value === undefined ? {} : { [name]: value };

function written({ cacheWrite5mTokens, cacheWrite1hTokens }: Usage): number | undefined {
  if (cacheWrite5mTokens === undefined && cacheWrite1hTokens === undefined) return undefined;
  return (cacheWrite5mTokens ?? 0) + (cacheWrite1hTokens ?? 0);
}
