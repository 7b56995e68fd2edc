import { type } from "arktype";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { StepHandler } from "../../actors/handlers/handler.ts";
import { agentSettings } from "./agent-settings.ts";
import {
  oneOf,
  optionalFunction,
  optionalRedisUrl,
  optionalText,
  optionalUrl,
  optionalWhole,
  text,
  whole,
} from "./values.ts";

const dayMs = 24 * 60 * 60 * 1_000;
const place = "number.integer > 0";
const ms = "number.integer > 0";
const handler = optionalFunction<StepHandler>();

/** Every setting, whichever source it comes from. */
export const settingsShape = type({
  redisUrl: optionalRedisUrl,
  /** Stands before every key in Redis. */
  queuePrefix: text("a text"),
  store: oneOf(["auto", "redis", "sqlite"]),
  dataDir: text("a folder"),
  controlPlaneUrl: optionalUrl,
  apiKey: optionalText("the control plane's API key"),
  /** Part of the consumer's name. */
  workerName: text("a name"),
  concurrency: whole(1, 10_000, "steps"),
  leaseMs: whole(1_000, dayMs, "milliseconds"),
  /** Tries after the first; 0 for none. */
  maxRetries: whole(0, 1_000, "retries"),
  retryDelayMs: whole(0, dayMs, "milliseconds"),
  maxDeliveries: whole(1, 10_000, "deliveries"),
  drainMs: whole(0, dayMs, "milliseconds"),
  requestTimeoutMs: whole(1, dayMs, "milliseconds"),
  mcpConfigPath: optionalText("a file"),
  mcpTimeoutMs: whole(1, dayMs, "milliseconds"),
  /** Null for `artifacts` in the data folder. */
  artifactsPath: optionalText("a folder"),
  retrievalEndpoint: optionalUrl,
  defaultModel: text("a model's name"),
  modelTimeoutMs: whole(1, dayMs, "milliseconds"),
  /** What `scripted/…` models answer: a JSON or YAML file. */
  modelScript: optionalText("a file"),
  anthropicApiKey: optionalText("a key"),
  anthropicBaseUrl: optionalUrl,
  openaiApiKey: optionalText("a key"),
  openaiBaseUrl: optionalUrl,
  otlpEndpoint: optionalUrl,
  serviceName: text("a name"),
  logLevel: oneOf(["debug", "info", "warn", "error", "silent"], {
    trace: "debug",
    warning: "warn",
    critical: "error",
    fatal: "error",
  }),
  /** `auto`: for people on a terminal, else JSON. */
  logFormat: oneOf(["auto", "pretty", "json"]),
  /** Of `stateplane dev`; null for any free one. */
  port: optionalWhole(0, 65_535, "a port"),
  /** Of the control plane: whose runs and agents are listed. */
  projectId: text("a project's id"),
  inDoubt: oneOf(["ask", "fail"]),
  "bulkheads?": {
    "+": "reject",
    "llm?": place,
    "tool?": place,
    "retrieval?": place,
    "sandbox?": place,
    "approval?": place,
  },
  "deadlines?": {
    "+": "reject",
    "queueMs?": type(ms).or("null"),
    "approvalMs?": ms,
    "executingMs?": ms,
    "totalMs?": type(ms).or("null"),
  },
  /** Which tools this worker may call at all; in place of the MCP file's own list. */
  "allowlist?": {
    "+": "reject",
    "allowed?": "string[]",
    "approvalRequired?": "string[]",
    "denied?": "string[]",
  },
  "agents?": type({ "[string]": agentSettings }),
  /** The worker's own say before the control plane's. */
  "policy?": optionalFunction<NonNullable<RuntimeOptions["policy"]>>(),
  "handlers?": {
    "+": "reject",
    "llm?": handler,
    "tool?": handler,
    "retrieval?": handler,
    "sandbox?": handler,
    "approval?": handler,
  },
});
export type Settings = typeof settingsShape.infer;
export type SettingKey = keyof Settings;
