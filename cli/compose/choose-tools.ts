import type { Allowlist } from "../../actors/options.ts";
import type { McpServer } from "../../adapters/mcp/config.ts";
import { matchesGlob } from "../../machines/contracts/domain/glob.ts";
import { isSecretKey } from "../../machines/contracts/domain/secret-names.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Config } from "../config/load-config.ts";
import { type Env, readVariable, withSecretFiles } from "../config/secret-files.ts";
import { headerVariables } from "../config/collector-headers.ts";
import { settingSources } from "../config/setting-sources.ts";
import { learnServers } from "../secrets.ts";

export interface ChosenTools {
  servers: McpServer[];
  /** Names of servers that the MCP file disables. */
  disabled: string[];
  allowlist: Allowlist;
  /** Where the lists stand, or would: a file, and the key of its list of allowed tools. */
  listedIn: { file: string; key: "allowed" | "allowed_tools" };
  /** Where the servers come from, for a person. */
  describe: string;
  /** What the MCP file says and we do not act on. */
  warnings: string[];
}

/** What FerrumDeck allows where no MCP configuration file is given. */
const referenceAllowlist: Allowlist = {
  allowed: [
    "read_file",
    "list_directory",
    "search_files",
    "get_file_contents",
    "list_commits",
    "get_pull_request",
  ],
  approvalRequired: [
    "write_file",
    "create_file",
    "create_pull_request",
    "create_issue",
    "push_files",
  ],
  denied: ["delete_file", "delete_branch", "merge_pull_request"],
};

/**
 * The MCP servers and the allowlist: of the MCP file where one is configured; without one FerrumDeck's
 * GitHub and filesystem servers where `GITHUB_TOKEN` and `WORKSPACE_PATH` ask for them. The configuration's
 * own `allowlist` takes the place of either list. A list that is nowhere allows nothing.
 *
 * @param onFile is told of each file that the MCP file names
 * @throws InvalidSetting when the MCP file can't be used
 */
export async function chooseTools(
  {
    settings,
    sources,
    file: ownFile,
  }: Pick<Config, "settings" | "sources"> & Partial<Pick<Config, "file">>,
  env: Env,
  onFile?: (file: string) => void,
): Promise<ChosenTools> {
  const { mcpConfigPath: file, allowlist: own } = settings;
  const inOwn = { file: ownFile ?? "stateplane.config.yaml", key: "allowed" } as const;
  const chosen = own && { allowed: [], approvalRequired: [], denied: [], ...own };
  if (file === null) {
    const servers = referenceServers(env);
    learnServers(servers, []);
    const describe =
      servers.length === 0
        ? "none (MCP_CONFIG_PATH is not set)"
        : "by GITHUB_TOKEN, WORKSPACE_PATH";
    const lists = { allowlist: chosen ?? referenceAllowlist, listedIn: inOwn };
    return { servers, disabled: [], ...lists, describe, warnings: [] };
  }
  const { readConfig } = await import("../../adapters/mcp/config.ts");
  const expanded = new Set<string>();
  const read = await readConfig(
    file,
    noting(withSecretFiles(env, isSecretKey), expanded),
    mayExpand(settings),
    onFile,
  );
  if (!read.ok) {
    const expected = `a usable MCP configuration file: ${read.problem}`;
    throw new InvalidSetting("mcpConfigPath", sources.mcpConfigPath, expected);
  }
  const { servers, disabled, allowlist, warnings } = read.value;
  learnServers(servers, expanded);
  const listed = {
    allowed: allowlist?.allowedTools ?? [],
    approvalRequired: allowlist?.approvalRequired ?? [],
    denied: allowlist?.deniedTools ?? [],
  };
  const lists =
    chosen === undefined
      ? { allowlist: listed, listedIn: { file, key: "allowed_tools" } as const }
      : { allowlist: chosen, listedIn: inOwn };
  return { servers, disabled, ...lists, describe: `by ${file}`, warnings };
}

/** Which variables an MCP file may hand on: those that `mcpVariables` names, else all but this worker's own secrets. */
function mayExpand({ mcpVariables }: Config["settings"]): (variable: string) => boolean {
  if (mcpVariables !== null) {
    return (variable) => mcpVariables.some((pattern) => matchesGlob(pattern, variable));
  }
  const own = new Set([
    ...Object.values(settingSources).flatMap(({ env = [], mask }) =>
      mask === undefined ? [] : env,
    ),
    ...headerVariables,
  ]);
  return (variable) => !own.has(variable.replace(/_FILE$/u, ""));
}

/** The environment, noting what is read of it: what a configuration expands may be a secret. */
function noting(env: Record<string, string | undefined>, read: Set<string>): typeof env {
  return new Proxy(env, {
    get(target, name) {
      const value = typeof name === "string" ? target[name] : undefined;
      if (value !== undefined) read.add(value);
      return value;
    },
  });
}

function referenceServers(env: Env): McpServer[] {
  const { WORKSPACE_PATH: workspace } = env;
  const token = readVariable("GITHUB_TOKEN", env)?.value.trim();
  return [
    ...(token ? [server("github", [], { env: { GITHUB_PERSONAL_ACCESS_TOKEN: token } })] : []),
    ...(workspace ? [server("filesystem", [workspace])] : []),
  ];
}

function server(name: string, args: string[], more: Partial<McpServer> = {}): McpServer {
  const command = { command: "npx", args: ["-y", `@modelcontextprotocol/server-${name}`, ...args] };
  return { name, ...command, ...more };
}
