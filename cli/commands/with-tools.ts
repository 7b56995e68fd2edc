import { existsSync } from "node:fs";
import { functionServer } from "../../adapters/functions/host.ts";
import { createToolHost, type McpHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import type { StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { ToolPins } from "../../machines/contracts/ports/tool-pins.ts";
import type { Context } from "../command.ts";
import { withBackend } from "../compose/choose-store.ts";
import { type ChosenTools, chooseTools } from "../compose/choose-tools.ts";
import { composeFunctions } from "../compose/compose-functions.ts";
import { pinsOf } from "../compose/compose-ports.ts";
import { lookAtTools, type ShownServer } from "../compose/look-at-tools.ts";
import { version } from "../main.ts";
import { CliError } from "../output/errors.ts";

export interface OpenTools {
  host: McpHost;
  tools: ChosenTools;
  /** Where it is kept what was accepted; null where there is no store yet. */
  pins: ToolPins | null;
  look(): Promise<ShownServer[]>;
}

/**
 * Lends the MCP servers of the configuration, each connected when it is first used, and closes them after the work. They
 * are compared with what was accepted, where a store keeps that; a server seen for the first time is not accepted by it.
 *
 * @param only the one server to open; undefined for all
 * @param hasFunctions lends the configuration's own functions beside them, whose server is `functions`
 * @throws CliError when there is none
 */
export async function withTools<T>(
  context: Pick<Context, "config" | "env" | "output" | "stopping">,
  only: string | undefined,
  work: (opened: OpenTools) => Promise<T>,
  hasFunctions = false,
): Promise<T> {
  const { config, env, output, stopping } = context;
  const { settings } = config;
  const tools = await chooseTools(config, env);
  for (const warning of tools.warnings) output.remark(warning);
  const isWanted = (name: string) => only === undefined || only === name;
  const functions = hasFunctions && isWanted(functionServer) ? (settings.tools ?? []) : [];
  const names = [
    ...(functions.length > 0 ? [functionServer] : []),
    ...tools.servers.map(({ name }) => name),
  ];
  if (names.length === 0) {
    throw new CliError(2, "no MCP server is configured: name a file in MCP_CONFIG_PATH or --mcp");
  }
  if (only !== undefined && !names.includes(only)) throw unknown("MCP server", only, names);
  const servers = tools.servers.filter(({ name }) => isWanted(name));
  const withPins = async (pins: ToolPins | null): Promise<T> => {
    const observed = pinsOf(settings, { pins: observing(pins ?? nothingAccepted) });
    const schemas = createSchemaChecker();
    const ofServers = createToolHost({
      servers,
      disabled: tools.disabled,
      schemas,
      log: silent,
      clientInfo: { name: "stateplane", version },
      timeoutMs: settings.mcpTimeoutMs,
      ...observed,
    });
    const host =
      functions.length > 0 ? composeFunctions(functions, ofServers, schemas, silent) : ofServers;
    try {
      const look = () => lookAtTools(host, tools, stopping.signal);
      return await work({ host, tools, pins, look });
    } finally {
      await host.close();
    }
  };
  const hasStore = settings.redisUrl !== null || existsSync(settings.dataDir);
  if (!hasStore) return withPins(null);
  return withBackend(config, "tools", ({ pins }: StepBackend) => withPins(pins));
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** Before the first start there is no store: nobody has accepted anything. */
const nothingAccepted: ToolPins = {
  find: async () => null,
  keepFirst: async (_, pin) => pin,
  replace: () => Promise.reject(new Error("there is no store to keep it in")),
};

/** Reads what was accepted; a look at a new server is not its acceptance. */
const observing = (pins: ToolPins): ToolPins => ({
  ...pins,
  find: (server) => pins.find(server),
  keepFirst: async (server, pin) => (await pins.find(server)) ?? pin,
});

/** An unknown name, with the known one that was probably meant. */
export function unknown(what: string, name: string, known: readonly string[]): CliError {
  const bareOf = (text: string) => text.slice(text.lastIndexOf("/") + 1);
  const bare = nearest(bareOf(name), known.map(bareOf));
  const meant = nearest(name, known) ?? known.find((one) => bareOf(one) === bare) ?? null;
  const hint =
    meant === null
      ? known.length > 0 && known.length <= 10
        ? `; expected ${known.join(", ")}`
        : ""
      : `; did you mean ${meant}?`;
  return new CliError(2, `there is no ${what} ${JSON.stringify(name)}${hint}`);
}
