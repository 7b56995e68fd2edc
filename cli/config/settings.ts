import { type } from "arktype";
import type { RuntimeOptions } from "../../actors/options.ts";
import type { UsersHandler } from "../../actors/handlers/handler.ts";
import {
  airlockModes,
  airlockRulesShape,
} from "../../machines/contracts/domain/airlock/settings.ts";
import { once } from "../../machines/contracts/domain/once.ts";
import { toolRuleShape } from "../../machines/contracts/domain/tool-lists.ts";
import {
  collectionsSettings,
  fallbacksSettings,
  pricesSettings,
  providersSettings,
  screeningSettings,
  webhooksSettings,
} from "./named-settings.ts";
import { driversSetting } from "./sandbox-settings.ts";
import { samplers } from "../../adapters/telemetry/otlp-url.ts";
import {
  type Bounds,
  oneOf,
  optionalFunction,
  optionalRedisUrl,
  optionalText,
  optionalTools,
  optionalUrl,
  optionalWhole,
  optionalWords,
  share,
  text,
  whole,
} from "./values.ts";

const dayMs = 24 * 60 * 60 * 1_000;
const milliseconds = "a whole number of milliseconds";
const ofOneType = { least: 1, most: 10_000, what: "a whole number of steps" };
const budgeted = { least: 0, most: Number.MAX_SAFE_INTEGER, what: "a whole number" };
/** A year: a person may be on holiday. */
const deadline = { least: 1, most: 365 * dayMs, what: milliseconds };

/** The bounds of every number, by its path; `*` is any agent. Both ends are allowed. */
export const numbers = {
  concurrency: { least: 1, most: 10_000, what: "a whole number of steps" },
  leaseMs: { least: 1_000, most: dayMs, what: milliseconds },
  rememberMs: { least: 1_000, most: 30 * dayMs, what: milliseconds },
  maxRetries: { least: 0, most: 1_000, what: "a whole number of retries" },
  retryDelayMs: { least: 0, most: dayMs, what: milliseconds },
  maxDeliveries: { least: 1, most: 10_000, what: "a whole number of deliveries" },
  drainMs: { least: 0, most: dayMs, what: milliseconds },
  requestTimeoutMs: { least: 1, most: dayMs, what: milliseconds },
  mcpTimeoutMs: { least: 1, most: dayMs, what: milliseconds },
  modelTimeoutMs: { least: 1, most: dayMs, what: milliseconds },
  modelIdleTimeoutMs: { least: 1, most: dayMs, what: milliseconds },
  remindBeforeMs: { least: 1, most: 365 * dayMs, what: milliseconds },
  sandboxOutputFiles: { least: 1, most: 1_000, what: "a whole number of files" },
  sandboxOutputMib: { least: 1, most: 64, what: "a whole number of MiB" },
  maxIterations: { least: 1, most: 1_000, what: "a whole number of iterations" },
  port: { least: 0, most: 65_535, what: "a port number" },
  httpPort: { least: 0, most: 65_535, what: "a port number" },
  inspectPort: { least: 0, most: 65_535, what: "a port number" },
  metricsEveryMs: { least: 100, most: dayMs, what: milliseconds },
  "bulkheads.llm": ofOneType,
  "bulkheads.tool": ofOneType,
  "bulkheads.retrieval": ofOneType,
  "bulkheads.sandbox": ofOneType,
  "bulkheads.approval": ofOneType,
  "deadlines.queueMs": deadline,
  "deadlines.approvalMs": deadline,
  "deadlines.executingMs": deadline,
  "deadlines.totalMs": deadline,
  "agents.*.approvalExpiresInMs": deadline,
  "agents.*.budget.max_input_tokens": budgeted,
  "agents.*.budget.max_output_tokens": budgeted,
  "agents.*.budget.max_total_tokens": budgeted,
  "agents.*.budget.max_tool_calls": budgeted,
  "agents.*.budget.max_wall_time_ms": budgeted,
  "agents.*.budget.max_cost_cents": budgeted,
  "agents.*.budget.max_cost_micros": budgeted,
} as const satisfies Record<string, Bounds>;

const number = (path: keyof typeof numbers) => whole(numbers[path]);
const numberOrNull = (path: keyof typeof numbers) => optionalWhole(numbers[path]);

/** One agent as `stateplane dev` registers it; its slug is the key it stands under. */
const agentSettings = once(() =>
  type({
    "name?": "string > 0",
    "model?": "string > 0",
    "systemPrompt?": "string",
    "modelParams?": "object",
    "allowedTools?": "string[]",
    "approvalRequiredTools?": "string[]",
    "deniedTools?": "string[]",
    /** In the wire's words. */
    "budget?": {
      "max_input_tokens?": number("agents.*.budget.max_input_tokens"),
      "max_output_tokens?": number("agents.*.budget.max_output_tokens"),
      "max_total_tokens?": number("agents.*.budget.max_total_tokens"),
      "max_tool_calls?": number("agents.*.budget.max_tool_calls"),
      "max_wall_time_ms?": number("agents.*.budget.max_wall_time_ms"),
      "max_cost_cents?": number("agents.*.budget.max_cost_cents"),
      "max_cost_micros?": number("agents.*.budget.max_cost_micros"),
    },
    /** Milliseconds. */
    "approvalExpiresInMs?": number("agents.*.approvalExpiresInMs"),
  }),
);

/**
 * The settings that are objects, most of which nobody gives: the shape of each is made when it is given. All of them
 * together take a tenth of a start.
 */
export const objectSettings = {
  /** By name: what retrieval steps may search; null or left out for whatever the service has. */
  collections: collectionsSettings,
  providers: providersSettings,
  /** By model: who is asked after it failed, in order. */
  fallbacks: fallbacksSettings,
  /** What the Airlock's rules look for, and which of them count. */
  airlock: airlockRulesShape,
  /** By model, or `provider/model`: dollars per million tokens, before the lists that come with the program. */
  prices: pricesSettings,
  /** What is looked for in what goes into a model and comes out of a step. */
  screening: screeningSettings,
  bulkheads: once(() =>
    type({
      "llm?": number("bulkheads.llm"),
      "tool?": number("bulkheads.tool"),
      "retrieval?": number("bulkheads.retrieval"),
      "sandbox?": number("bulkheads.sandbox"),
      "approval?": number("bulkheads.approval"),
    }),
  ),
  deadlines: once(() =>
    type({
      "queueMs?": numberOrNull("deadlines.queueMs"),
      "approvalMs?": number("deadlines.approvalMs"),
      "executingMs?": number("deadlines.executingMs"),
      "totalMs?": numberOrNull("deadlines.totalMs"),
    }),
  ),
  /** Which tools this worker may call at all; in place of the MCP file's own list. */
  allowlist: once(() =>
    type({
      "allowed?": toolRuleShape.array(),
      "approvalRequired?": toolRuleShape.array(),
      "denied?": toolRuleShape.array(),
    }),
  ),
  agents: once(() => type({ "[string]": agentSettings() })),
  /** Where people are told of what they are asked. */
  webhooks: webhooksSettings,
  /** Work of the user's own in place of a step type's, or of one tool's: `tool:charge_card`. */
  handlers: once(() => {
    const handler = optionalFunction<UsersHandler>();
    return type({
      "llm?": handler,
      "tool?": handler,
      "retrieval?": handler,
      "sandbox?": handler,
      "approval?": handler,
      "[/^tool:./]": handler,
    });
  }),
};
export type ObjectKey = keyof typeof objectSettings;
type ObjectSettings = {
  [Key in ObjectKey]?: ReturnType<(typeof objectSettings)[Key]>["infer"];
};

/** Every other setting, whichever source it comes from. */
export const settingsShape = type({
  redisUrl: optionalRedisUrl,
  /** Stands before every key in Redis. */
  queuePrefix: text("a prefix, such as fd:queue:"),
  store: oneOf(["auto", "redis", "sqlite"]),
  dataDir: text("a folder"),
  controlPlaneUrl: optionalUrl,
  apiKey: optionalText("the control plane's API key"),
  /** Part of the consumer's name. */
  workerName: text("a name"),
  concurrency: number("concurrency"),
  leaseMs: number("leaseMs"),
  /** How long a late duplicate of an ended step is recognised. */
  rememberMs: number("rememberMs"),
  /** Whether an ended step's journal is kept as an artifact of it, for `steps replay`; `auto`: by `dev` alone. */
  keepJournals: oneOf(["auto", "on", "off"], { true: "on", false: "off" }),
  /** Tries after the first; 0 for none. */
  maxRetries: number("maxRetries"),
  retryDelayMs: number("retryDelayMs"),
  maxDeliveries: number("maxDeliveries"),
  drainMs: number("drainMs"),
  requestTimeoutMs: number("requestTimeoutMs"),
  mcpConfigPath: optionalText("a file"),
  /** Variables that the MCP file may hand on to its servers; null for all but this worker's own secrets. */
  mcpVariables: optionalWords("a list of variables, or of patterns such as ACME_*"),
  mcpTimeoutMs: number("mcpTimeoutMs"),
  /** What happens to a server whose tools are not those that were accepted. */
  toolPins: oneOf(["first-use", "strict", "off"], {
    on: "first-use",
    true: "first-use",
    false: "off",
  }),
  /** Null for `artifacts` in the data folder. */
  artifactsPath: optionalText("a folder"),
  /** An S3-compatible bucket, path-style, and what stands before every key; in place of a folder. */
  artifactsUrl: optionalUrl,
  awsAccessKeyId: optionalText("a key's id"),
  awsSecretAccessKey: optionalText("a key"),
  awsSessionToken: optionalText("a token"),
  awsRegion: text("a region"),
  retrievalEndpoint: optionalUrl,
  retrievalApiKey: optionalText("a key"),
  /** Whether the endpoint's public name may lead to an internal address. */
  retrievalInternal: oneOf(["no", "yes"], { "0": "no", false: "no", "1": "yes", true: "yes" }),
  defaultModel: text("a model's name"),
  /** Of one call, first byte to last. */
  modelTimeoutMs: number("modelTimeoutMs"),
  /** Between two pieces of a model's answer, and before the first. */
  modelIdleTimeoutMs: number("modelIdleTimeoutMs"),
  /** What `scripted/…` models answer: a JSON or YAML file. */
  modelScript: optionalText("a file"),
  /** Of eval reports that the console shows. */
  evalsReportsPath: optionalText("a folder"),
  /** What `recorded/…` models answer: a file of JSON lines. */
  modelRecording: optionalText("a file"),
  /** Whether what the recording does not have is asked of the model and recorded. */
  recordModels: oneOf(["no", "yes"], { "0": "no", false: "no", "1": "yes", true: "yes" }),
  anthropicApiKey: optionalText("a key"),
  anthropicBaseUrl: optionalUrl,
  openaiApiKey: optionalText("a key"),
  openaiBaseUrl: optionalUrl,
  otlpEndpoint: optionalUrl,
  serviceName: text("a name"),
  /** Which steps are traced, as OpenTelemetry names it. */
  tracesSampler: oneOf(samplers),
  /** Of the ratio samplers: how many of all traces, from 0 to 1. */
  tracesSamplerArg: share,
  /** Whether spans say what models and tools were told, and what they answered. */
  captureContent: oneOf(["no", "yes"], { "0": "no", false: "no", "1": "yes", true: "yes" }),
  /** Whether FerrumDeck's names stand beside those of OpenTelemetry's conventions. */
  ferrumdeckSpans: oneOf(["no", "yes"], { "0": "no", false: "no", "1": "yes", true: "yes" }),
  /** Whether metrics go to the collector, beside traces. */
  metricsExporter: oneOf(["otlp", "none"]),
  metricsEveryMs: number("metricsEveryMs"),
  /** Where a worker answers for its health and its metrics; null for nowhere. */
  httpPort: numberOrNull("httpPort"),
  httpHost: text("an address"),
  /** Of the inspector's page, where `--inspect` asks for one; null for any free port. */
  inspectPort: numberOrNull("inspectPort"),
  inspectHost: text("an address"),
  logLevel: oneOf(["debug", "info", "warn", "error", "silent"], {
    trace: "debug",
    warning: "warn",
    critical: "error",
    fatal: "error",
  }),
  /** `auto`: for people on a terminal, else JSON. */
  logFormat: oneOf(["auto", "pretty", "json"]),
  /** Of `stateplane dev`; null for any free one. */
  port: numberOrNull("port"),
  /** Of the control plane: whose runs and agents are listed. */
  projectId: text("a project's id"),
  inDoubt: oneOf(["ask", "fail"]),
  /** Who judges tool calls besides this worker's lists: nobody else with `worker`. */
  toolPolicy: oneOf(["control-plane", "worker"]),
  sandboxDrivers: driversSetting,
  /** The second word without which the driver `none` is refused: code runs as this user. */
  sandboxWithoutBoundary: oneOf(["off", "on"]),
  /** Of the driver `container`; null for none. */
  sandboxImage: optionalText("an image that the container engine has"),
  /** Most files that are kept of one sandbox run, and their size together. */
  sandboxOutputFiles: number("sandboxOutputFiles"),
  sandboxOutputMib: number("sandboxOutputMib"),
  /** Whether tool calls are inspected, and whether what is found counts. */
  airlockMode: oneOf(airlockModes),
  /** `off`: an agent's tool calls go by this worker's lists alone while the control plane can't be asked. */
  failClosed: oneOf(["on", "off"], {
    true: "on",
    "1": "on",
    yes: "on",
    false: "off",
    "0": "off",
    no: "off",
  }),
  maxIterations: number("maxIterations"),
  /** What happens to a call of a model that no price is known of. */
  unknownPrices: oneOf(["warn", "refuse"]),
  /** Where people's browsers find the control plane; null for its own address. */
  publicUrl: optionalUrl,
  remindBeforeMs: number("remindBeforeMs"),
  /** The worker's own say before the control plane's. */
  "policy?": optionalFunction<NonNullable<RuntimeOptions["policy"]>>(),
  /** Functions of the user's own, beside the tools of MCP servers. */
  "tools?": optionalTools,
});
export type Settings = typeof settingsShape.infer & ObjectSettings;
export type SettingKey = keyof Settings;

/** What `stateplane.config.ts` exports; every key may be left out. */
export type UsersConfig = { [Key in SettingKey]?: Settings[Key] | undefined };
