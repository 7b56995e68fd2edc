import { join } from "node:path";
import type { RuntimePorts } from "../../actors/ports.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { createControlPlane } from "../../adapters/control-plane/client.ts";
import { watchRun, watchRuns } from "../../adapters/control-plane/watch-runs.ts";
import { createArtifactFolder } from "../../adapters/artifacts/folder.ts";
import { createModels, type ModelsOptions } from "../../adapters/llm/models.ts";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createHttpRetriever } from "../../adapters/retrieval/http.ts";
import { createLocalRetriever } from "../../adapters/retrieval/local.ts";
import { findSandbox } from "../../adapters/sandbox/find.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { Config } from "../config/load-config.ts";
import { version } from "../main.ts";
import type { ChosenTools } from "./choose-tools.ts";
import type { Closing } from "./start-worker.ts";
import { readScript } from "./read-script.ts";

interface Neighbours {
  config: Pick<Config, "settings" | "sources">;
  backend: StepBackend;
  controlPlane: { url: string; apiKey: string };
  tools: ChosenTools;
  log: Log;
  /** Is given everything opened here. */
  closing: Closing;
}

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
  const tools = createToolHost({
    servers: made.tools.servers,
    log,
    clientInfo: { name: "stateplane", version },
    timeoutMs: settings.mcpTimeoutMs,
  });
  closing.add("MCP servers", () => tools.close());
  const found = await findSandbox({ log });
  const { retrievalEndpoint: endpoint } = settings;
  return {
    queue: backend.queue,
    store: backend.store,
    controlPlane: createControlPlane(api),
    watchRuns: async (onChange, signal) => {
      const watched = await watchRuns(api, onChange, signal);
      if (!watched.ok) log.warn({ failure: watched.failure }, "run changes can't be followed");
    },
    watchRun: (runId, onHint, signal) => watchRun(api, runId, onHint, signal),
    models: createModels(await modelsOptions(config)),
    tools,
    sandbox: "sandbox" in found ? found.sandbox : found,
    retrievers: {
      local: createLocalRetriever(),
      http:
        endpoint === null
          ? null
          : createHttpRetriever({ endpoint, timeoutMs: settings.requestTimeoutMs }),
    },
    artifacts: createArtifactFolder({
      path: settings.artifactsPath ?? join(settings.dataDir, "artifacts"),
    }),
    clock: systemClock,
    log,
  };
}

async function modelsOptions({ settings, sources }: Neighbours["config"]): Promise<ModelsOptions> {
  const { anthropicApiKey, anthropicBaseUrl, openaiApiKey, openaiBaseUrl, modelScript } = settings;
  return {
    ...(anthropicApiKey === null ? {} : { anthropicApiKey }),
    ...(anthropicBaseUrl === null ? {} : { anthropicBaseUrl }),
    ...(openaiApiKey === null ? {} : { openaiApiKey }),
    ...(openaiBaseUrl === null ? {} : { openaiBaseUrl }),
    ...(modelScript === null ? {} : { script: await readScript(modelScript, sources.modelScript) }),
    timeoutMs: settings.modelTimeoutMs,
  };
}
