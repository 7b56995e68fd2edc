import { once } from "node:events";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { Command } from "../command.ts";
import { pause, sayingSilence } from "../../actors/sources/periodic.ts";
import { systemClock } from "../../actors/runtime.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { chooseStore, type ChosenStore, whileKept } from "../compose/choose-store.ts";
import { chooseTools } from "../compose/choose-tools.ts";
import { startTraces } from "../compose/monitoring.ts";
import { agentSeeds, startPlane } from "../compose/start-plane.ts";
import { CliError } from "../output/errors.ts";
import { consumerName } from "../supervise-processes.ts";
import { openLog } from "./long-running.ts";

const usualPort = 8080;

/** `control-plane`: the API and the stream's writing end, until it is told to stop; no worker. */
export const controlPlane: Command = async (context) => {
  const { config, env, output, stopping, invocation } = context;
  const { settings } = config;
  const { apiKey } = settings;
  if (apiKey === null) {
    throw new CliError(
      2,
      "control-plane: expected FD_API_KEY, the first key, which may do everything",
    );
  }
  const log = openLog(context, "info");
  const tools = await chooseTools(config, env);
  const agents = agentSeeds(settings, tools);
  const tracing = await startTraces(settings, log, env);
  const store = await chooseStore(config, consumerName(settings.workerName), { log });
  try {
    const { host } = invocation.flags;
    const plane = await startPlane(
      config,
      {
        port: settings.port ?? usualPort,
        host: typeof host === "string" ? host : "127.0.0.1",
        apiKey,
        agents,
        publish: (fields) => store.backend.queue.publish(fields),
        steps: store.backend,
        // No worker is here whose servers could say what a tool must be given.
        workflows: createWorkflowEngine(createWorkflowReader(() => null)),
        log,
      },
      env,
    );
    try {
      const about = {
        url: plane.url,
        store: store.describe,
        agents: agents.map(({ slug }) => slug),
      };
      if (output.isJson) output.json({ kind: "ready", ...about, pid: process.pid });
      else log.info(about, `the control plane is running, with its console at ${plane.url}/`);
      watchStore(store, log, stopping.signal);
      if (!stopping.signal.aborted) await whileKept(store, once(stopping.signal, "abort"));
    } finally {
      await plane.close();
    }
  } finally {
    await store.close();
    await tracing?.shutdown();
  }
  log.info({}, "the control plane has stopped");
  return 0;
};

const lookEveryMs = 1_000;

/** A worker hears of a store that is away by its own work; where there is none, it is asked for something small. */
function watchStore({ backend, kind }: ChosenStore, log: Log, signal: AbortSignal): void {
  if (kind === "sqlite") return;
  const ports = { clock: systemClock, log, storeName: backend.describe };
  const meanwhile = "jobs wait in the control plane until it does";
  const look = async () => {
    while (!signal.aborted) {
      const asked = () => backend.queue.findDeadLetter("0-1");
      // What it answers is no matter, and neither is what it can't: whoever needs it meets that, and says so.
      await sayingSilence(ports, meanwhile, asked).catch(() => {});
      await pause(systemClock, lookEveryMs, signal);
    }
  };
  void look();
}
