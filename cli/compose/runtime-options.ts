import { type Allowlist, defaultOptions, type RuntimeOptions } from "../../actors/options.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import type { StepType } from "../../machines/contracts/domain/job.ts";
import type { Settings } from "../config/settings.ts";

/** The worker's options as its settings say. */
export function runtimeOptions(settings: Settings, allowlist: Allowlist): RuntimeOptions {
  const { limits, deadlines } = defaultOptions;
  const { policy, handlers } = settings;
  return {
    ...defaultOptions,
    capacity: settings.concurrency,
    bulkheads: { ...settings.bulkheads },
    leaseMs: settings.leaseMs,
    maxDeliveries: settings.maxDeliveries,
    limits: {
      ...limits,
      maxAttempts: settings.maxRetries + 1,
      baseDelayMs: settings.retryDelayMs,
      maxDelayMs: Math.max(limits.maxDelayMs, settings.retryDelayMs),
    },
    deadlines: { ...deadlines, ...settings.deadlines },
    allowlist,
    inDoubt: settings.inDoubt,
    defaultModel: settings.defaultModel,
    ...(policy ? { policy } : {}),
    ...(handlers ? { handlers: given(handlers) } : {}),
  };
}

function given(
  handlers: NonNullable<Settings["handlers"]>,
): Partial<Record<StepType, StepHandler>> {
  return Object.fromEntries(Object.entries(handlers).filter(([, handler]) => handler !== null));
}
