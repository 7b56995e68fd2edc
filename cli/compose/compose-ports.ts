import { join } from "node:path";
import type { RuntimePorts } from "../../actors/ports.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { watchRun, watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { createS3Artifacts } from "../../adapters/artifacts/s3.ts";
import type { Retriever } from "../../machines/contracts/ports/retriever.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import { createHttpRetriever } from "../../adapters/retrieval/http.ts";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import type { PinOptions } from "../../adapters/mcp/pins.ts";
import type { findSandbox } from "../../adapters/sandbox/find.ts";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Config } from "../config/load-config.ts";
import type { Settings } from "../config/settings.ts";
import { commandLine } from "../called-as.ts";
import { makeDataDir } from "../data-folder.ts";
import { version } from "../main.ts";
import { hideSecrets } from "../secrets.ts";
import type { ChosenTools } from "./choose-tools.ts";
import { composeModels, pricesOf } from "./compose-models.ts";
import type { Closing } from "./start-worker.ts";

interface Neighbours {
  config: Pick<Config, "settings" | "sources">;
  env: Readonly<Record<string, string | undefined>>;
  backend: StepBackend;
  controlPlane: { url: string; apiKey: string };
  tools: ChosenTools;
  /** Being looked for. */
  sandbox: ReturnType<typeof findSandbox>;
  log: Log;
  /** Is given everything opened here. */
  closing: Closing;
}

const noServer = (name: string) =>
  fail(terminal("not_found", `no MCP server is configured that could have a tool "${name}"`));

/** Where no MCP server is configured, the protocol's SDK need not be loaded. */
const noTools: ToolHost = {
  list: async () => ok([]),
  describe: async (name) => noServer(name),
  call: async ({ name }) => noServer(name),
  close: async () => {},
};

/**
 * Every neighbour of a worker, from its settings.
 *
 * @throws InvalidSetting for a setting that can't be used
 */
export async function composePorts(made: Neighbours): Promise<RuntimePorts> {
  const { config, backend, log, closing } = made;
  const { settings } = config;
  const api = createControlPlaneApi({
    ...made.controlPlane,
    timeoutMs: settings.requestTimeoutMs,
  });
  closing.add("control plane client", () => api.close());
  for (const warning of made.tools.warnings) log.warn({}, warning);
  const schemas = createSchemaChecker();
  const prices = pricesOf(settings);
  const servers =
    made.tools.servers.length === 0
      ? noTools
      : (await import("../../adapters/mcp/host.ts")).createToolHost({
          servers: made.tools.servers,
          disabled: made.tools.disabled,
          schemas,
          log,
          clientInfo: { name: "stateplane", version },
          timeoutMs: settings.mcpTimeoutMs,
          ...pinsOf(settings, backend),
        });
  closing.add("MCP servers", () => servers.close());
  const { tools: functions } = settings;
  const tools = functions?.length
    ? (await import("./compose-functions.ts")).composeFunctions(functions, servers, schemas, log)
    : servers;
  const found = await made.sandbox;
  const http = httpRetrieverOf(settings);
  const collections = await collectionsOf(made, http);
  return hideSecrets({
    queue: backend.queue,
    store: backend.store,
    storeName: backend.describe,
    abandonStore: backend.abandon,
    controlPlane: createControlPlane(api),
    watchRuns: async (onChange, signal, onStop) => {
      const stop = (step: { runId: string; stepId: string }) => onStop(step.runId, step.stepId);
      const watched = await watchRuns(api, onChange, signal, undefined, stop);
      if (!watched.ok) log.warn({ failure: watched.failure }, "run changes can't be followed");
    },
    watchRun: (runId, onHint, signal) => watchRun(api, runId, onHint, signal),
    models: await composeModels(config, made.env, prices, log),
    prices,
    tools,
    sandbox: "sandbox" in found ? found.sandbox : found,
    schemas,
    retrievers: {
      local: createLocalRetriever(),
      http,
      ...(collections === undefined ? {} : { collections }),
    },
    artifacts: artifactsOf(config),
    clock: systemClock,
    log,
  });
}

function httpRetrieverOf(settings: Settings): Retriever | null {
  const {
    retrievalEndpoint: endpoint,
    retrievalApiKey,
    requestTimeoutMs,
    retrievalInternal,
  } = settings;
  if (endpoint === null) return null;
  return createHttpRetriever({
    endpoint,
    timeoutMs: requestTimeoutMs,
    allowInternal: retrievalInternal === "yes",
    ...(retrievalApiKey === null ? {} : { apiKey: retrievalApiKey }),
  });
}

async function collectionsOf(
  { config, env, closing }: Neighbours,
  http: Retriever | null,
): Promise<RuntimePorts["retrievers"]["collections"]> {
  if (config.settings.collections === undefined) return undefined;
  const { namedCollections, openCollections } = await import("./compose-collections.ts");
  const own = await openCollections(config, env);
  closing.add("collections", () => own.close());
  return namedCollections(config.settings, own, http, config.sources);
}

/** With what the tools of MCP servers are compared. */
export function pinsOf(
  { toolPins: mode }: Pick<Settings, "toolPins">,
  { pins: store }: Pick<StepBackend, "pins">,
): { pins?: PinOptions } {
  return mode === "off" ? {} : { pins: { store, mode, commandLine } };
}

/** S3-compatible storage where it is set, else a folder, which only a store of this machine's own goes with. */
export function artifactsOf({ settings, sources }: Neighbours["config"]): ArtifactStore {
  const { artifactsUrl: url, awsSessionToken } = settings;
  if (url === null) {
    return createArtifactFolder({
      path: settings.artifactsPath ?? join(settings.dataDir, "artifacts"),
      isShared: settings.redisUrl === null,
    });
  }
  const keyFor = (key: "awsAccessKeyId" | "awsSecretAccessKey"): string => {
    const value = settings[key];
    if (value !== null) return value;
    throw new InvalidSetting(key, sources[key], "a key, because artifactsUrl is set");
  };
  return createS3Artifacts({
    url,
    accessKeyId: keyFor("awsAccessKeyId"),
    secretAccessKey: keyFor("awsSecretAccessKey"),
    ...(awsSessionToken === null ? {} : { sessionToken: awsSessionToken }),
    region: settings.awsRegion,
  });
}

/** What about the place of artifacts endangers results too long to travel: a whole sentence each. */
export function sharingWarnings(
  { settings }: Pick<Config, "settings">,
  { isShared }: Pick<ArtifactStore, "isShared">,
): string[] {
  if (isShared || isOnThisMachine(settings)) return [];
  return [
    "Artifacts are kept in a folder of this machine, while REDIS_URL may be shared with other machines: " +
      "long results can be read here alone. Set STATEPLANE_ARTIFACTS_URL to S3-compatible storage.",
  ];
}

/** Those, and whether anything can be stored there: for which the data folder is made, where it is to be in that. */
export async function artifactWarnings(
  config: Pick<Config, "settings">,
  { artifacts }: Pick<RuntimePorts, "artifacts">,
): Promise<string[]> {
  const { artifactsUrl, artifactsPath, dataDir } = config.settings;
  // Where it can't be made, the look below says so.
  if ((artifactsUrl ?? artifactsPath) === null) await makeDataDir(dataDir).catch(() => {});
  const checked = await artifacts.check();
  const refused = checked.ok ? [] : [`Artifacts can't be stored: ${checked.failure.message}.`];
  return [...refused, ...sharingWarnings(config, artifacts)];
}

function isOnThisMachine({ redisUrl }: Settings): boolean {
  if (redisUrl === null) return true;
  const url = URL.parse(redisUrl);
  const host = url?.hostname ?? "";
  return url?.protocol === "unix:" || /^(?:localhost|127\.[\d.]+|\[::1\])$/u.test(host);
}
