import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createModels } from "../../adapters/llm/models.ts";
import { createPricedModels } from "../../adapters/llm/priced-models.ts";
import { createToolHost } from "../../adapters/mcp/host.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import type { Check, Checks, Found } from "../../evals/checks.ts";
import type { Sources } from "../../evals/observe.ts";
import type { Suite } from "../../evals/suite.ts";
import { placeOf } from "../../evals/suite-tasks.ts";
import { isJsonObject, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { Context } from "../command.ts";
import { type Config, loadConfig } from "../config/load-config.ts";
import { defaultModels } from "../config/setting-sources.ts";
import { version } from "../main.ts";
import { CliError } from "../output/errors.ts";
import { pricesOf } from "./compose-models.ts";
import { artifactsOf } from "./compose-ports.ts";
import { type Dev, startDev } from "./start-dev.ts";

export interface EvalPlane {
  dev: Dev;
  statesOf: NonNullable<Sources["statesOf"]>;
  artifacts: ArtifactStore;
}

/** In the environment of a suite's configuration: the folder of the trials' folders. */
const workspaceVariable = "STATEPLANE_EVAL_WORKSPACE";

/**
 * Starts a data plane for an eval: by the suite's own configuration, or the user's; with a folder of its own, a store of
 * its own and room for as many steps as there are trials at a time.
 */
export async function startEvalPlane(
  { config: own, env: given, invocation, folder }: Context,
  suite: Suite,
  { workspace, dataDir, log }: { workspace: string; dataDir: string; log: Log },
): Promise<EvalPlane> {
  const env = { ...given, [workspaceVariable]: workspace };
  const config = await configOf(suite, own, { env, flags: invocation.settings, folder }, workspace);
  const { settings, sources } = config;
  const { model } = suite.definition;
  const used = {
    ...settings,
    dataDir,
    port: 0,
    controlPlaneUrl: null,
    redisUrl: null,
    store: sources.store === "default" ? ("sqlite" as const) : settings.store,
    concurrency: Math.max(settings.concurrency, suite.settings.max_parallel),
    ...(model === undefined ? {} : { defaultModel: defaultModels.scripted }),
  };
  const passed = new Map<string, { state: string; at: string }[]>();
  const artifacts = artifactsOf({ ...config, settings: used });
  const dev = await startDev(
    { ...config, settings: used },
    {
      env,
      log,
      isInMemory: true,
      onStepEvent: (notice) => {
        if (notice.kind !== "entered") return;
        const states = passed.get(notice.stepId) ?? [];
        passed.set(notice.stepId, states);
        states.push({ state: notice.state, at: new Date().toISOString() });
      },
      ...(model === undefined ? {} : { ports: { models: priced(model, config, log) } }),
    },
  );
  const statesOf = (stepId: string) => {
    const states = passed.get(stepId) ?? [];
    passed.delete(stepId);
    return states;
  };
  return { dev, statesOf, artifacts };
}

function priced(model: ModelProvider, { settings }: Config, log: Log): ModelProvider {
  const models = createModels({ providers: [], standIn: model });
  return createPricedModels(models, { prices: pricesOf(settings), strict: false, log });
}

async function configOf(
  { definition, folder: suiteFolder }: Suite,
  own: Config,
  request: Omit<Parameters<typeof loadConfig>[0], "file" | "given">,
  workspace: string,
): Promise<Config> {
  const { config } = definition;
  if (config === undefined) return own;
  // What is the suite's own is said by it, and not by whatever runs on this machine.
  if (typeof config === "function") {
    const values = config({ workspace });
    if (!isJsonObject(values)) throw new CliError(2, "the suite's config: expected an object");
    const path = `the configuration of suite ${definition.name}`;
    return loadConfig({ ...request, file: null, given: { path, values } });
  }
  const file = await placeOf(suiteFolder, config);
  if (file === null) throw new CliError(2, `the suite's config: there is no file ${config}`);
  return loadConfig({ ...request, file });
}

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Checks of the trials' folders by the test-runner server that comes with the program, started when first needed. */
export function openChecks(workspace: string, timeoutMs: number): Checks & AsyncDisposable {
  const file = `../../tools/test-runner/server${extname(import.meta.url)}`;
  const entry = fileURLToPath(new URL(file, import.meta.url));
  const host = createToolHost({
    servers: [{ name: "checks", command: process.execPath, args: [entry, "--root", workspace] }],
    schemas: createSchemaChecker(),
    log: silent,
    clientInfo: { name: "stateplane", version },
    timeoutMs,
  });
  const call = async (
    tool: string,
    input: JsonObject,
    signal: AbortSignal,
  ): Promise<JsonObject | string> => {
    const target = await host.describe(tool, signal);
    if (!target.ok) return target.failure.message;
    const called = await host.call(target.value, input, signal);
    if (!called.ok) return called.failure.message;
    return isJsonObject(called.value.content) ? called.value.content : `${tool} gave no answer`;
  };
  return {
    async look(repo, wanted, signal) {
      const found: Found = {};
      const unseen: Found["unseen"] = {};
      const has = (check: Check) => wanted.includes(check);
      if (has("tests") || has("coverage")) {
        const ran = await call("run_tests", { repo, coverage: has("coverage") }, signal);
        const { passed, failed, total, coverage } = typeof ran === "string" ? {} : ran;
        if (typeof passed === "number" && typeof failed === "number" && typeof total === "number")
          found.tests = { passed, failed, total };
        if (has("coverage") && typeof coverage === "number") found.coverage = coverage;
        if (typeof ran === "string") unseen.tests = unseen.coverage = ran;
      }
      const lint = has("lint") ? await call("lint", { repo }, signal) : null;
      if (typeof lint === "string") unseen.lint = lint;
      else if (lint !== null)
        found.lint = { errors: Number(lint["errors"]), warnings: Number(lint["warnings"]) };
      const types = has("types") ? await call("type_check", { repo }, signal) : null;
      if (typeof types === "string") unseen.types = types;
      else if (types !== null) found.types = { errors: Number(types["errors"]) };
      return Object.keys(unseen).length > 0 ? { ...found, unseen } : found;
    },
    [Symbol.asyncDispose]: () => host.close(),
  };
}

/** Where an eval keeps what it has done so far. */
export const evalFolder = (dataDir: string, ...rest: string[]) => join(dataDir, "evals", ...rest);
