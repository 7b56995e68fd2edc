import type { RuntimeOptions } from "../../actors/options.ts";
import type { RuntimePorts } from "../../actors/ports.ts";
import { type Runtime, startRuntime } from "../../actors/runtime.ts";
import { startTracing } from "../../adapters/telemetry/tracing.ts";
import type { Log } from "../../machines/contracts/ports/log.ts";
import type { Config } from "../config/load-config.ts";
import { chooseStore, type ChosenStore } from "./choose-store.ts";
import { type ChosenTools, chooseTools } from "./choose-tools.ts";
import { Closing } from "./closing.ts";
import { composePorts } from "./compose-ports.ts";
import { consumerName } from "./consumer-name.ts";
import { runtimeOptions } from "./runtime-options.ts";

/** What a program of its own may add to what the configuration says. */
export interface WorkerHooks {
  env: Readonly<Record<string, string | undefined>>;
  log: Log;
  onNews?: NonNullable<RuntimeOptions["onNews"]>;
  inspect?: NonNullable<RuntimeOptions["inspect"]>;
  /** Neighbours in place of the configured ones. */
  ports?: Partial<RuntimePorts>;
}

export interface Worker extends AsyncDisposable {
  readonly runtime: Runtime;
  readonly ports: RuntimePorts;
  readonly store: ChosenStore;
  readonly tools: ChosenTools;
  /** Lets steps finish for up to `drainMs` of the settings, hands the rest back, and closes everything. */
  close(): Promise<void>;
  /** Hands back what is left, now; makes a `close` under way quick. */
  hurry(): void;
}

/**
 * Composes a worker from its configuration, and starts it.
 *
 * @param findControlPlane called once the store is open
 * @throws InvalidSetting for a setting that can't be used, StoreUnreachable when the store can't be reached
 */
export async function startWorker(
  config: Pick<Config, "settings" | "sources">,
  hooks: WorkerHooks,
  findControlPlane: (
    store: ChosenStore,
    tools: ChosenTools,
    closing: Closing,
  ) => Promise<{ url: string; apiKey: string }>,
): Promise<Worker> {
  const { settings } = config;
  const closing = new Closing(hooks.log);
  try {
    const { otlpEndpoint: endpoint, serviceName } = settings;
    if (endpoint !== null) {
      const tracing = startTracing({ endpoint, serviceName, log: hooks.log });
      closing.add("tracing", () => tracing.shutdown());
    }
    const tools = await chooseTools(config, hooks.env);
    const store = await chooseStore(config, consumerName(settings.workerName));
    closing.add("store", () => store.close(), storePatienceMs);
    const controlPlane = await findControlPlane(store, tools, closing);
    const composed = { config, home: store.home, controlPlane, tools, log: hooks.log, closing };
    const ports = { ...(await composePorts(composed)), ...hooks.ports };
    const runtime = startRuntime(ports, {
      ...runtimeOptions(settings, tools.allowlist),
      ...(hooks.onNews ? { onNews: hooks.onNews } : {}),
      ...(hooks.inspect ? { inspect: hooks.inspect } : {}),
    });
    const drain = () => runtime.drain(settings.drainMs);
    closing.add("steps", drain, settings.drainMs + unwindMs);
    const close = () => closing.close();
    const hurry = () => void runtime.drain(0);
    return { runtime, ports, store, tools, close, hurry, [Symbol.asyncDispose]: close };
  } catch (error) {
    await closing.close();
    throw error;
  }
}

/** What steps may take to abort their work and be handed back, once told to. */
const unwindMs = 10_000;
/** A private Redis writes its append-only file before it ends. */
const storePatienceMs = 20_000;
