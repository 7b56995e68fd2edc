import { execFile } from "node:child_process";
import { accessSync, constants, existsSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import type { HealthView } from "../../adapters/control-plane/api.ts";
import { createRedisBackend } from "../../adapters/redis/backend.ts";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { McpServer } from "../../adapters/mcp/config.ts";
import { findSandbox, limitedBy } from "../../adapters/sandbox/find.ts";
import { warningWithoutBoundary } from "../../adapters/sandbox/without-boundary.ts";
import { driverWithoutBoundary } from "../../machines/contracts/ports/sandbox.ts";
import { sandboxOptions } from "../config/sandbox-settings.ts";
import { probeSandboxes } from "./doctor-probe.ts";
import type { Command, Context } from "../command.ts";
import type { Allowlist } from "../../actors/options.ts";
import { combinationWarnings } from "../compose/combination-warnings.ts";
import { lookAtTools, type ShownServer } from "../compose/look-at-tools.ts";
import { chooseTools } from "../compose/choose-tools.ts";
import { consumerName } from "../supervise-processes.ts";
import { maskUrl } from "../config/load-config.ts";
import { readDevNote } from "../dev-note.ts";
import { findPackageManager, findProgram, installCommand, type Need, needs } from "../needs.ts";
import { toCliError } from "../output/errors.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import { version } from "../main.ts";
import { priceTableVersion } from "../../adapters/llm/prices.ts";
import { artifactsOf, sharingWarnings } from "../compose/compose-ports.ts";
import {
  configuredModels,
  pricesOf,
  refusedKeys,
  shownProviders,
  unpricedBudgets,
} from "../compose/compose-models.ts";
import type { Settings } from "../config/settings.ts";
import { openApi } from "./with-control-plane.ts";
import { commandLine } from "../called-as.ts";

interface Finding {
  what: string;
  /**
   * `optional` is not here, and not needed unless a step asks for it; `none` means that none is configured; `warning` works, and endangers what is promised; `broken` is required, or
   * configured, and does not work.
   */
  state: "ok" | "optional" | "none" | "warning" | "broken";
  detail: string;
  /** The command, or the sentence, that mends it. */
  fix: string | null;
}

const ok = (what: string, detail: string): Finding => ({ what, state: "ok", detail, fix: null });
const warning = (what: string, detail: string): Finding => ({
  what,
  state: "warning",
  detail,
  fix: null,
});
const run = promisify(execFile);
const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** `doctor`: looks at everything, changes nothing. */
export const doctor: Command = async (context) => {
  const { output, config, invocation } = context;
  if (invocation.flags["probe"] === true) {
    return probeSandboxes(output, sandboxOptions(config.settings));
  }
  const findings = (
    await Promise.all([
      node(),
      ok("configuration", config.file ?? "no file; environment and defaults"),
      redis(context),
      controlPlane(context),
      ...needs.map((need) => program(need)),
      sandbox(context),
      mcpServers(context),
      artifacts(context),
      models(context),
      ok("tracing", tracing(context)),
    ])
  ).flat();
  const isBroken = findings.some(({ state }) => state === "broken");
  if (output.isJson) {
    output.json({ ok: !isBroken, findings });
    return isBroken ? 1 : 0;
  }
  const rows = findings.map(({ what, state, detail, fix }) => [
    what,
    state,
    fix === null ? detail : `${detail}; ${fix}`,
  ]);
  output.table(["WHAT", "STATE", "DETAIL"], rows);
  return isBroken ? 1 : 0;
};

const leastNode = [22, 19] as const;

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isNew = major > leastNode[0] || (major === leastNode[0] && minor >= leastNode[1]);
  const detail = `${process.version}, Stateplane ${version}`;
  if (isNew) return ok("node", detail);
  return { what: "node", state: "broken", detail, fix: "install Node 22.19 or later" };
}

async function redis({ config }: Context): Promise<Finding[]> {
  const { redisUrl: url, queuePrefix: prefix, dataDir } = config.settings;
  const what = "store";
  if (url === null) {
    if (!isWritable(dataDir)) {
      const detail = `${dataDir} can't be written to, and \`dev\` keeps its data there`;
      const fix = "check STATEPLANE_DATA_DIR, and who may write there";
      return [{ what, state: "broken", detail, fix }];
    }
    const server = findProgram(["redis-server", "valkey-server"], process.env["PATH"]);
    return [ok(what, `REDIS_URL is not set: ${server ?? "SQLite"} would be used by \`dev\``)];
  }
  try {
    const source = config.sources.redisUrl;
    const backend = await createRedisBackend({
      url,
      prefix,
      consumer: consumerName("doctor"),
      source,
    });
    const { length, pending, deadLetters } = await backend.queue.stats();
    await backend.close();
    const load = `${length} jobs, ${pending} being worked on, ${deadLetters} dead letters`;
    const warnings = backend.warnings.map((detail) => warning(what, detail));
    return [ok(what, `${backend.describe}: ${load}`), ...warnings];
  } catch (error) {
    const detail = toCliError(error)?.message ?? String(error);
    return [{ what, state: "broken", detail, fix: "check REDIS_URL and that the server runs" }];
  }
}

async function controlPlane({ config, stopping }: Context): Promise<Finding[]> {
  const { controlPlaneUrl, apiKey, dataDir, requestTimeoutMs } = config.settings;
  const what = "control plane";
  const note = await readDevNote(dataDir);
  const url = controlPlaneUrl ?? note?.url ?? null;
  if (url === null) {
    const detail = "CONTROL_PLANE_URL is not set, and no `dev` runs in this folder";
    return [{ what, state: "none", detail, fix: `run \`${commandLine("dev")}\`` }];
  }
  const key = apiKey ?? (note?.url === url ? note.apiKey : "");
  const api = openApi({ url, apiKey: key, timeoutMs: Math.min(requestTimeoutMs, 5_000) }, config);
  try {
    const health = await api.health(stopping.signal);
    const broken = (detail: string, fix: string): Finding[] => [
      { what, state: "broken", detail, fix },
    ];
    if (!health.ok) return broken(health.failure.message, "check CONTROL_PLANE_URL");
    const allowed = await api.approvals(1, stopping.signal);
    if (!allowed.ok) return broken(allowed.failure.message, "check FD_API_KEY");
    const able = health.value.extensions?.join(", ") ?? "FerrumDeck's contract";
    return [ok(what, `${maskUrl(url)}: ${able}`), ...gatewayWarnings(what, health.value)];
  } finally {
    await api.close();
  }
}

/** From this version on, FerrumDeck's gateway decides about tools by the agent's lists. */
const leastGateway = [0, 6] as const;

function gatewayWarnings(what: string, { version: said, extensions }: HealthView): Finding[] {
  const [major = 0, minor = 0] = said.split(".").map(Number);
  const isOld = major === leastGateway[0] && minor < leastGateway[1];
  if (extensions !== undefined || !isOld) return [];
  const detail = `its version is ${said}: FerrumDeck's gateway before 0.6 denies every tool, so every tool call is denied; STATEPLANE_TOOL_POLICY=worker lets this worker's lists decide alone`;
  return [warning(what, detail)];
}

async function artifacts({ config }: Context): Promise<Finding[]> {
  const what = "artifacts";
  const { artifactsUrl: url, artifactsPath, dataDir } = config.settings;
  const folder = artifactsPath ?? join(dataDir, "artifacts");
  const store = artifactsOf(config);
  const warnings = sharingWarnings(config, store).map((detail) => warning(what, detail));
  const broken = (detail: string): Finding[] => {
    const fix = "check FD_ARTIFACTS_PATH or STATEPLANE_ARTIFACTS_URL, and who may write there";
    return [{ what, state: "broken", detail, fix }, ...warnings];
  };
  // Nothing is made here: whether it could be is asked of what is there.
  if (url === null && !existsSync(folder)) {
    if (!isWritable(folder)) return broken(`${folder} can't be created`);
    return [ok(what, `${folder} will be created when it is needed`), ...warnings];
  }
  const checked = await store.check();
  if (!checked.ok) return broken(checked.failure.message);
  return [ok(what, `${url === null ? folder : maskUrl(url)} can be written to`), ...warnings];
}

/** Whether a path, or the nearest folder above it that is there, may be written to. */
function isWritable(path: string): boolean {
  if (!existsSync(path)) return path !== dirname(path) && isWritable(dirname(path));
  try {
    accessSync(path, constants.W_OK);
    return statfsSync(path).type !== procFs;
  } catch {
    return false;
  }
}

/** PROC_SUPER_MAGIC of linux/magic.h: root may write there, and make nothing. */
const procFs = 0x9fa0;

async function program(need: Need): Promise<Finding> {
  const { programs, what: use, platform = process.platform } = need;
  const what = programs[0] ?? "";
  const { PATH: path } = process.env;
  const file = findProgram(programs, path);
  if (file !== null) return ok(what, `${file} ${await versionOf(file)}`.trim());
  if (platform !== process.platform) return ok(what, `not needed on ${process.platform}`);
  const fix = installCommand([need], findPackageManager(path));
  return { what, state: "optional", detail: `not on the PATH: ${use}`, fix };
}

async function versionOf(file: string): Promise<string> {
  const answer = await run(file, ["--version"], { timeout: 5_000 }).catch(() => null);
  return /\d+\.\d+(?:\.\d+)?/.exec(`${answer?.stdout}${answer?.stderr}`)?.[0] ?? "";
}

async function sandbox({ config }: Context): Promise<Finding> {
  const found = await findSandbox(sandboxOptions(config.settings));
  if ("sandbox" in found) {
    if (found.trouble !== undefined) return warning("sandbox", found.trouble);
    const { driver } = found.sandbox;
    return driver === driverWithoutBoundary
      ? warning("sandbox", warningWithoutBoundary())
      : ok("sandbox", `${driver} works; ${limitedBy()}`);
  }
  return { what: "sandbox", state: "optional", detail: found.missing, fix: null };
}

async function mcpServers({ config, env, stopping }: Context): Promise<Finding[]> {
  const what = "MCP servers";
  const chosen = await chooseTools(config, env).catch((error: unknown) => {
    if (error instanceof InvalidSetting) return error;
    throw error;
  });
  if (chosen instanceof InvalidSetting) {
    return [{ what, state: "broken", detail: chosen.message, fix: null }];
  }
  const { servers, describe } = chosen;
  const warnings = chosen.warnings.map((detail) => warning(what, detail));
  if (servers.length === 0) {
    const fix = "name a file in MCP_CONFIG_PATH, or set GITHUB_TOKEN or WORKSPACE_PATH";
    return [{ what, state: "none", detail: describe, fix }, ...warnings];
  }
  const { mcpTimeoutMs: timeoutMs } = config.settings;
  const found = await Promise.all(
    servers.map((server) => mcpServer(server, chosen.allowlist, timeoutMs, stopping.signal)),
  );
  const shown = found.flatMap((one) => one.shown);
  const combined = combinationWarnings(config.settings, shown);
  return [
    ...found.map(({ finding }) => finding),
    ...warnings,
    ...combined.map((detail) => warning("agents", detail)),
  ];
}

async function mcpServer(
  server: McpServer,
  allowlist: Allowlist,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<{ finding: Finding; shown: ShownServer[] }> {
  const clientInfo = { name: "stateplane", version };
  const host = createToolHost({
    servers: [server],
    schemas: createSchemaChecker(),
    log: silent,
    clientInfo,
    timeoutMs,
  });
  const what = `MCP server ${server.name}`;
  try {
    const listed = await host.list(signal);
    if (listed.ok) {
      const names = listed.value.map(({ name }) => name).join(", ");
      const shown = await lookAtTools(host, { allowlist }, signal);
      return { finding: ok(what, names || "no tools"), shown };
    }
    const fix = `check ${server.command ?? "its address"}`;
    const { message: detail } = listed.failure;
    return { finding: { what, state: "broken", detail, fix }, shown: [] };
  } finally {
    await host.close();
  }
}

async function models({ config, env, stopping }: Context): Promise<Finding[]> {
  const shown = shownProviders(config.settings, env);
  const refusing = await refusedKeys(config.settings, env, stopping.signal);
  const findings = shown.map(({ name, detail, fix }): Finding => {
    const what = `models of ${name}`;
    if (refusing.has(name)) {
      const refused = `${detail}: it refuses this key`;
      return { what, state: "broken", detail: refused, fix: "set a key that it accepts" };
    }
    return { what, state: fix === null ? "ok" : "broken", detail, fix };
  });
  const model = config.settings.defaultModel;
  const summary = `default ${model}, ${priceOf(config.settings, model)}; prices of ${priceTableVersion}`;
  const unpriced = unpricedBudgets(config.settings).map((detail): Finding => {
    const fix = 'give its price under "prices", or set unknownPrices to "refuse"';
    return { what: "budget", state: "warning", detail, fix };
  });
  if (shown.length > 0) return [...findings, ok("models", summary), ...unpriced];
  const detail = `${configuredModels(config.settings, env)}; ${summary}`;
  return [{ what: "models", state: "none", detail, fix: null }];
}

function priceOf(settings: Settings, model: string): string {
  const rates = pricesOf(settings).findByName(model)?.price.tiers[0]?.rates;
  if (rates === undefined) return "of which no price is known";
  const { input, output } = rates;
  return `$${input / 1_000_000} in and $${output / 1_000_000} out per million tokens`;
}

function tracing({ config }: Context): string {
  const { otlpEndpoint } = config.settings;
  return otlpEndpoint === null
    ? "off (OTEL_EXPORTER_OTLP_ENDPOINT is not set)"
    : maskUrl(otlpEndpoint);
}
