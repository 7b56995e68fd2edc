import { hostname } from "node:os";
import type { SettingKey } from "./settings.ts";

/** Asked where nobody names a model, by whose key is there; FerrumDeck's own where it is Anthropic's. */
export const defaultModels = {
  anthropic: "claude-sonnet-4-20250514",
  openai: "gpt-4.1",
  scripted: "scripted/default",
} as const;

interface SettingSource {
  /** The first that is set and not empty counts. */
  env?: readonly string[];
  /** Without the dashes. */
  flag?: string;
  /** Of the flag. */
  help?: string;
  /** Absent where the setting has no default. */
  fallback?: string | number | null;
  /** In help, where the default differs from machine to machine. */
  shownFallback?: string;
  /** How it is shown: `secret` to its last characters, `url` without what a URL may hide. */
  mask?: "secret" | "url";
  /** Relative to where it was said: the working directory, or the folder of the file. */
  isPath?: true;
}

/**
 * Where each setting may come from besides the configuration file. The environment's names are FerrumDeck's, with
 * those that it documents and never reads, and ours where it has none.
 */
export const settingSources: Readonly<Record<SettingKey, SettingSource>> = {
  redisUrl: {
    env: ["REDIS_URL"],
    flag: "redis-url",
    help: "the Redis or Valkey that carries the jobs",
    fallback: null,
    mask: "url",
  },
  queuePrefix: { env: ["REDIS_QUEUE_PREFIX"], fallback: "fd:queue:" },
  store: {
    env: ["STATEPLANE_STORE"],
    flag: "store",
    help: "auto, redis or sqlite",
    fallback: "auto",
  },
  dataDir: {
    env: ["STATEPLANE_DATA_DIR"],
    flag: "data-dir",
    help: "the folder of Stateplane's own files",
    fallback: ".stateplane",
    isPath: true,
  },
  controlPlaneUrl: {
    env: ["CONTROL_PLANE_URL", "FD_CONTROL_PLANE_URL", "GATEWAY_URL"],
    flag: "control-plane",
    help: "the control plane's address",
    fallback: null,
    mask: "url",
  },
  // No flag: a command line can be read by every user of the machine.
  apiKey: { env: ["FD_API_KEY"], fallback: null, mask: "secret" },
  workerName: {
    env: ["WORKER_NAME"],
    flag: "name",
    help: "the worker's name",
    fallback: `worker-${hostname()}`,
    shownFallback: "worker-HOSTNAME",
  },
  concurrency: {
    env: ["WORKER_CONCURRENCY"],
    flag: "concurrency",
    help: "how many steps run at once",
    fallback: 4,
  },
  leaseMs: { env: ["WORKER_LEASE_MS"], fallback: 30_000 },
  rememberMs: { env: ["WORKER_REMEMBER_MS"], fallback: 60 * 60 * 1_000 },
  keepJournals: { env: ["WORKER_KEEP_JOURNALS"], fallback: "auto" },
  maxRetries: { env: ["WORKER_MAX_RETRIES"], fallback: 3 },
  retryDelayMs: { env: ["WORKER_RETRY_DELAY_MS"], fallback: 1_000 },
  maxDeliveries: { env: ["WORKER_MAX_DELIVERIES"], fallback: 10 },
  // Kubernetes kills after 30 s.
  drainMs: {
    env: ["WORKER_DRAIN_MS"],
    flag: "drain-ms",
    help: "milliseconds that steps may take to finish after a signal",
    fallback: 25_000,
  },
  requestTimeoutMs: { env: ["CONTROL_PLANE_TIMEOUT_MS"], fallback: 30_000 },
  mcpConfigPath: {
    env: ["MCP_CONFIG_PATH"],
    flag: "mcp",
    help: "a file with MCP servers and the tools' allowlist",
    fallback: null,
    isPath: true,
  },
  mcpVariables: { env: ["STATEPLANE_MCP_VARIABLES"], fallback: null },
  toolPins: { env: ["STATEPLANE_TOOL_PINS"], fallback: "first-use" },
  mcpTimeoutMs: { env: ["MCP_DEFAULT_TIMEOUT_MS"], fallback: 30_000 },
  artifactsPath: { env: ["FD_ARTIFACTS_PATH"], fallback: null, isPath: true },
  artifactsUrl: { env: ["STATEPLANE_ARTIFACTS_URL"], fallback: null, mask: "url" },
  awsAccessKeyId: { env: ["AWS_ACCESS_KEY_ID"], fallback: null, mask: "secret" },
  awsSecretAccessKey: { env: ["AWS_SECRET_ACCESS_KEY"], fallback: null, mask: "secret" },
  awsSessionToken: { env: ["AWS_SESSION_TOKEN"], fallback: null, mask: "secret" },
  awsRegion: { env: ["AWS_REGION", "AWS_DEFAULT_REGION"], fallback: "us-east-1" },
  retrievalEndpoint: { env: ["RETRIEVAL_ENDPOINT"], fallback: null, mask: "url" },
  retrievalApiKey: { env: ["RETRIEVAL_API_KEY"], fallback: null, mask: "secret" },
  retrievalInternal: { env: ["STATEPLANE_RETRIEVAL_INTERNAL"], fallback: "no" },
  defaultModel: {
    env: ["DEFAULT_MODEL"],
    flag: "model",
    help: "the model for steps that name none",
    fallback: defaultModels.anthropic,
    shownFallback: "one of the provider whose key is set",
  },
  modelTimeoutMs: { env: ["STATEPLANE_MODEL_TIMEOUT_MS"], fallback: 600_000 },
  modelIdleTimeoutMs: { env: ["STATEPLANE_MODEL_IDLE_TIMEOUT_MS"], fallback: 180_000 },
  modelScript: {
    env: ["STATEPLANE_MODEL_SCRIPT"],
    flag: "model-script",
    help: "a JSON or YAML file with the answers of scripted/… models",
    fallback: null,
    isPath: true,
  },
  evalsReportsPath: { env: ["EVALS_REPORTS_PATH"], fallback: null, isPath: true },
  modelRecording: { env: ["STATEPLANE_MODEL_RECORDING"], fallback: null, isPath: true },
  recordModels: { env: ["STATEPLANE_RECORD_MODELS"], fallback: "no" },
  anthropicApiKey: { env: ["ANTHROPIC_API_KEY"], fallback: null, mask: "secret" },
  anthropicBaseUrl: { env: ["ANTHROPIC_BASE_URL"], fallback: null, mask: "url" },
  openaiApiKey: { env: ["OPENAI_API_KEY"], fallback: null, mask: "secret" },
  openaiBaseUrl: { env: ["OPENAI_BASE_URL"], fallback: null, mask: "url" },
  otlpEndpoint: { env: ["OTEL_EXPORTER_OTLP_ENDPOINT"], fallback: null, mask: "url" },
  serviceName: { env: ["OTEL_SERVICE_NAME"], fallback: "stateplane" },
  tracesSampler: { env: ["OTEL_TRACES_SAMPLER"], fallback: "parentbased_always_on" },
  tracesSamplerArg: { env: ["OTEL_TRACES_SAMPLER_ARG"], fallback: "1" },
  captureContent: {
    env: ["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"],
    fallback: "no",
  },
  ferrumdeckSpans: { env: ["STATEPLANE_FERRUMDECK_SPANS"], fallback: "no" },
  metricsExporter: { env: ["OTEL_METRICS_EXPORTER"], fallback: "otlp" },
  metricsEveryMs: { env: ["OTEL_METRIC_EXPORT_INTERVAL"], fallback: 60_000 },
  httpPort: { env: ["WORKER_HTTP_PORT"], fallback: null },
  httpHost: { env: ["WORKER_HTTP_HOST"], fallback: "127.0.0.1" },
  inspectPort: {
    env: ["STATEPLANE_INSPECT_PORT"],
    flag: "inspect-port",
    help: "the port of the inspector's page",
    fallback: null,
    shownFallback: "any free port",
  },
  inspectHost: { env: ["STATEPLANE_INSPECT_HOST"], fallback: "127.0.0.1" },
  logLevel: {
    env: ["LOG_LEVEL", "FERRUMDECK_LOG_LEVEL"],
    flag: "log-level",
    help: "debug, info, warn, error or silent",
    fallback: "info",
  },
  logFormat: { env: ["FERRUMDECK_LOG_FORMAT"], fallback: "auto" },
  port: {
    env: ["STATEPLANE_PORT"],
    flag: "port",
    help: "the control plane's port",
    fallback: null,
    shownFallback: "8080 of control-plane, any free port of dev",
  },
  projectId: {
    env: ["STATEPLANE_PROJECT_ID"],
    flag: "project",
    help: "the project whose runs and agents are listed",
    // The project of FerrumDeck's development seed, ours too.
    fallback: "prj_01JFVX0000000000000000001",
  },
  inDoubt: { env: ["STATEPLANE_IN_DOUBT"], fallback: "ask" },
  sandboxDrivers: { env: ["SANDBOX_DRIVERS"], fallback: null },
  sandboxWithoutBoundary: { env: ["SANDBOX_WITHOUT_BOUNDARY"], fallback: "off" },
  sandboxImage: { env: ["SANDBOX_IMAGE"], fallback: null },
  sandboxOutputFiles: { env: ["SANDBOX_OUTPUT_FILES"], fallback: 20 },
  sandboxOutputMib: { env: ["SANDBOX_OUTPUT_MIB"], fallback: 16 },
  airlockMode: {
    env: ["STATEPLANE_AIRLOCK", "FERRUMDECK_AIRLOCK_MODE"],
    fallback: "shadow",
  },
  airlock: {},
  toolPolicy: { env: ["STATEPLANE_TOOL_POLICY"], fallback: "control-plane" },
  failClosed: { env: ["AGENTIC_FAIL_CLOSED"], fallback: "on" },
  maxIterations: { env: ["AGENTIC_MAX_ITERATIONS"], fallback: 25 },
  unknownPrices: { env: ["STATEPLANE_UNKNOWN_PRICES"], fallback: "warn" },
  collections: {},
  prices: {},
  providers: {},
  fallbacks: {},
  bulkheads: {},
  screening: {},
  deadlines: {},
  allowlist: {},
  agents: {},
  webhooks: {},
  publicUrl: { env: ["STATEPLANE_PUBLIC_URL"], fallback: null, mask: "url" },
  remindBeforeMs: { env: ["STATEPLANE_REMIND_BEFORE_MS"], fallback: 15 * 60_000 },
  policy: {},
  handlers: {},
  tools: {},
};
