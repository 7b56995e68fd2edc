import { randomBytes } from "node:crypto";
import type { AgentSeed } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Config } from "../config/load-config.ts";
import { secrets } from "../secrets.ts";
import { agentSeeds, startPlane } from "./start-plane.ts";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createStandIn } from "../../adapters/llm/scripted.ts";
import { defaultModels } from "../config/setting-sources.ts";
import { pricesOf, shownProviders, unpricedBudgets } from "./compose-models.ts";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import { startWorker, type Worker, type WorkerHooks } from "./start-worker.ts";

/** A whole data plane in this process: control plane, store and worker. `await using` ends it. */
export interface Dev extends Worker {
  readonly url: string;
  readonly port: number;
  readonly apiKey: string;
  readonly agents: readonly AgentSeed[];
  /** No model can be asked: a scripted one answers in its place, and says so. */
  readonly isScripted: boolean;
}

type Given = Pick<Config, "settings" | "sources"> & Partial<Pick<Config, "file">>;

/**
 * Starts the embedded control plane, the store and a worker of them both, from one configuration. State is kept
 * in the data folder. Without an `FD_API_KEY` the key is made up; without agents there is one, `assistant`, that
 * may use whatever the worker allows.
 *
 * @throws InvalidSetting, StoreUnreachable, or CliError when the port is taken or another `dev` holds the folder
 */
export async function startDev(given: Given, givenHooks: WorkerHooks): Promise<Dev> {
  const { config, hooks } = withStandIn(given, givenHooks);
  const { settings } = config;
  const apiKey = settings.apiKey ?? `fd_dev_${randomBytes(16).toString("hex")}`;
  secrets.add([apiKey]);
  for (const text of unpricedBudgets(settings))
    hooks.log.warn({}, `${text}; give its price under "prices"`);
  const host = "127.0.0.1";
  let served = { url: "", port: 0 };
  let agents: AgentSeed[] = [];
  let servers: Worker["servers"] = [];
  const workflows = createWorkflowEngine(
    createWorkflowReader((tool) => onlyRequired(tool, servers)),
  );
  const worker = await startWorker(config, hooks, async (store, tools, closing, inspecting) => {
    agents = agentSeeds(settings, tools);
    const plane = await startPlane(
      config,
      {
        port: settings.port ?? 0,
        host,
        apiKey,
        agents,
        publish: (fields) => store.backend.queue.publish(fields),
        steps: store.backend,
        isInMemory: hooks.isInMemory === true,
        workflows,
        ...(inspecting === null ? {} : { onWorkflowMove: inspecting.onWorkflowMove }),
        log: hooks.log,
      },
      hooks.env,
    );
    closing.add("control plane", () => plane.close());
    served = { url: plane.url, port: plane.port };
    return { url: plane.url, apiKey };
  });
  servers = worker.servers;
  return { ...worker, ...served, apiKey, agents, isScripted: config !== given };
}

/** The one argument that a tool must be given, where it has just one; null where it has not, or is not known. */
function onlyRequired(tool: string, servers: Worker["servers"]): string | null {
  const found = servers
    .flatMap(({ tools }) => tools)
    .filter(({ name, address }) => name === tool || address === tool);
  const schema = found.length === 1 ? found[0]?.inputSchema : null;
  const required = isJsonObject(schema as Json) ? (schema as JsonObject)["required"] : null;
  const [only] = Array.isArray(required) && required.length === 1 ? required : [null];
  return typeof only === "string" ? only : null;
}

/** Without any model of the user's, the default is a scripted one, so that a first run ends well. */
function withStandIn(config: Given, hooks: WorkerHooks): { config: Given; hooks: WorkerHooks } {
  const { settings, sources } = config;
  const isChosen = sources.defaultModel !== "default" || hooks.ports?.models !== undefined;
  if (isChosen || shownProviders(settings, hooks.env).length > 0) return { config, hooks };
  const models = createPricedModels(createModels({ providers: [], standIn: createStandIn() }), {
    prices: pricesOf(settings),
    strict: false,
    log: hooks.log,
  });
  return {
    config: { ...config, settings: { ...settings, defaultModel: defaultModels.scripted } },
    hooks: { ...hooks, ports: { ...hooks.ports, models } },
  };
}
