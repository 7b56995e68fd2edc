import { once } from "node:events";
import { createWorkflowEngine } from "../../actors/workflow/engine.ts";
import { createWorkflowReader } from "../../adapters/workflows/step-request.ts";
import type { Command } from "../command.ts";
import { chooseStore, whileKept } from "../compose/choose-store.ts";
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
