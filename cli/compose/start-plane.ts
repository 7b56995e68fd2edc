import { join } from "node:path";
import { createConsole } from "../../adapters/console/serve.ts";
import type { AgentSeed } from "../../adapters/control-plane/embedded/changes/register-agent.ts";
import {
  type EmbeddedControlPlane,
  type EmbeddedOptions,
  PortTaken,
  startEmbeddedControlPlane,
} from "../../adapters/control-plane/embedded/start.ts";
import { createSchemasApart } from "../../adapters/schemas/check-apart.ts";
import { costOf } from "../../adapters/llm/prices.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import { agentLoopMachine } from "../../machines/agent-loop/machine.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { isUnconditional, ruleTool } from "../../machines/contracts/domain/tool-lists.ts";
import type { Config } from "../config/load-config.ts";
import { airlockOf } from "../config/named-settings.ts";
import type { Settings } from "../config/settings.ts";
import { CliError } from "../output/errors.ts";
import { isListenTrouble, listenTrouble } from "./listen-trouble.ts";
import { makeDataDir } from "../data-folder.ts";
import type { ChosenTools } from "./choose-tools.ts";
import { createEvalReports } from "./eval-reports.ts";
import { pricesOf } from "./compose-models.ts";
import { chooseWebhooks } from "./webhooks.ts";

/**
 * Starts the embedded control plane on the file of the data folder, with the configuration's prices.
 *
 * @throws CliError when the port is taken, or another control plane holds the file
 */
export async function startPlane(
  config: Pick<Config, "settings" | "sources"> & Partial<Pick<Config, "file">>,
  given: Omit<
    EmbeddedOptions,
    "path" | "costMicros" | "notices" | "site" | "airlock" | "schemas" | "evals"
  > & {
    /** Keeps its state nowhere, in place of a file. */
    isInMemory?: boolean;
  },
  env: Readonly<Record<string, string | undefined>>,
): Promise<EmbeddedControlPlane> {
  const { settings, sources } = config;
  checkKey(given, sources);
  const notices = await chooseWebhooks(config, env);
  await makeDataDir(settings.dataDir);
  const prices = pricesOf(settings);
  const starting = startEmbeddedControlPlane({
    ...given,
    notices,
    ...(settings.evalsReportsPath === null
      ? {}
      : { evals: createEvalReports(settings.evalsReportsPath) }),
    site: createConsole({
      machines: { step: stepMachine.definition, "agent-loop": agentLoopMachine.definition },
    }),
    airlock: { settings: airlockOf(settings) },
    schemas: createSchemasApart(),
    path: given.isInMemory === true ? ":memory:" : join(settings.dataDir, "control-plane.sqlite"),
    costMicros: (model, inputTokens, outputTokens) => {
      const found = prices.findByName(model);
      return found === null ? null : costOf(found.price, { inputTokens, outputTokens });
    },
  });
  return starting.catch((error: unknown) => {
    if (!(error instanceof Error)) throw error;
    const cause = error instanceof PortTaken ? error.cause : error;
    const { port, host } = given;
    const wanted = { host, port, portKey: "port", hostBy: "--host" } as const;
    const why = isListenTrouble(cause) ? listenTrouble(cause, wanted, sources) : error.message;
    throw new CliError(2, `the control plane can't start: ${why}`, { cause: error });
  });
}

/** A key with fewer characters can be found by trying. */
const shortestKey = 16;

/** @throws CliError where others can reach a control plane whose key they could guess */
function checkKey(
  { apiKey, host, log }: Pick<EmbeddedOptions, "apiKey" | "host" | "log">,
  sources: Config["sources"],
): void {
  if (apiKey.length >= shortestKey) return;
  const found = `FD_API_KEY (from ${sources.apiKey}) has ${apiKey.length} characters and can be guessed: expected at least ${shortestKey} random ones, as \`openssl rand -hex 16\` makes them`;
  if (!["127.0.0.1", "::1", "localhost"].includes(host))
    throw new CliError(2, `${found}, where others can reach the control plane (--host ${host})`);
  log.warn({}, found);
}

/** The configuration's agents; without any there is one, `assistant`, that may use whatever the lists allow. */
export function agentSeeds(
  { agents, defaultModel: model }: Settings,
  tools: ChosenTools,
): AgentSeed[] {
  if (agents === undefined || Object.keys(agents).length === 0) {
    const { allowed, approvalRequired, denied } = tools.allowlist;
    return [
      {
        slug: "assistant",
        model,
        // Conditions are the worker's to judge: the control plane's lists know names alone.
        allowedTools: [...allowed, ...approvalRequired].map(ruleTool),
        approvalRequiredTools: approvalRequired.filter(isUnconditional).map(ruleTool),
        deniedTools: denied.filter(isUnconditional).map(ruleTool),
      },
    ];
  }
  return Object.entries(agents).map(([slug, { modelParams, ...agent }]) => ({
    slug,
    model,
    ...agent,
    ...(modelParams === undefined ? {} : { modelParams: modelParams as JsonObject }),
  }));
}
