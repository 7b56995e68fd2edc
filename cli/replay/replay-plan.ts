import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type } from "arktype";
import type { Policy, RuntimeOptions } from "../../actors/options.ts";
import type { ReplayEnd, ReplayEvent, ReplayPlan } from "../../actors/replay/plan.ts";
import { replayStep } from "../../actors/replay/replay-step.ts";
import { systemClock } from "../../actors/runtime.ts";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { createSqliteBackend } from "../../adapters/sqlite/backend.ts";
import type { StepRecording } from "../../machines/contracts/domain/recording.ts";
import { toolRuleShape } from "../../machines/contracts/domain/tool-lists.ts";
import type { ArtifactStore } from "../../machines/contracts/ports/artifact-store.ts";
import type { ModelProvider } from "../../machines/contracts/ports/model-provider.ts";
import type { ToolHost } from "../../machines/contracts/ports/tool-host.ts";
import { readDocument } from "../commands/read-document.ts";
import { withTools } from "../commands/with-tools.ts";
import type { Context } from "../command.ts";
import { composeModels, pricesOf } from "../compose/compose-models.ts";
import { chooseTools } from "../compose/choose-tools.ts";
import { runtimeOptions } from "../compose/start-worker.ts";
import { loadUsersModule, withPlace } from "../config/users-modules.ts";
import { CliError } from "../output/errors.ts";
import { confirm } from "../output/confirm.ts";
import { openLists } from "../../actors/replay/recorded-verdicts.ts";

/** What a command line asks of its replays. */
export interface AskedReplay {
  changes: ReplayPlan["changes"];
  policy: ReplayPlan["policy"] | null;
  forkAt: number | null;
  newCalls: ReplayPlan["newCalls"];
  remakesCalls?: boolean;
  isChanged: boolean;
}

/** @throws CliError for a flag that can't be used */
export async function askedReplay(context: Context): Promise<AskedReplay> {
  const { invocation, folder } = context;
  const { flags } = invocation;
  const model = flags["model"];
  const { "system-prompt": promptFile, policy: policyFile, "fork-at": at } = flags;
  const changes = {
    ...(typeof model === "string" ? { model } : {}),
    ...(typeof promptFile === "string"
      ? { system_prompt: await readText(promptFile, folder) }
      : {}),
  };
  const policy = typeof policyFile === "string" ? await readPolicy(policyFile, folder) : null;
  const forkAt = at === undefined ? null : Number(at);
  if (forkAt !== null && !(Number.isSafeInteger(forkAt) && forkAt >= 1)) {
    throw new CliError(2, "--fork-at: expected the number of an effect, from 1");
  }
  const newCalls =
    flags["live"] === true ? "all" : flags["allow-new-tool-calls"] === true ? "safe" : "none";
  const isChanged = forkAt !== null || policy !== null || Object.keys(changes).length > 0;
  if (newCalls !== "none" && !isChanged) {
    const named = newCalls === "all" ? "live" : "allow-new-tool-calls";
    const ways = "--fork-at, --model, --system-prompt or --policy";
    throw new CliError(
      2,
      `--${named}: a replay without changes makes no calls; expected it with ${ways}`,
    );
  }
  if (newCalls === "all" && flags["yes"] !== true) {
    if (!process.stdin.isTTY)
      throw new CliError(2, "--live calls tools for real: confirm it with --yes");
    const isYes = await confirm("Call tools for real, those that change things too?");
    if (!isYes) throw new CliError(2, "nothing was replayed");
  }
  return { changes, policy, forkAt, newCalls, isChanged };
}

async function readText(file: string, folder: string): Promise<string> {
  return readFile(resolve(folder, file), "utf8").catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`;
    throw new CliError(2, `--system-prompt: ${file}: ${why}`);
  });
}

const listsShape = type({
  "+": "reject",
  "allowed?": toolRuleShape.array(),
  "approvalRequired?": toolRuleShape.array(),
  "denied?": toolRuleShape.array(),
});

async function readPolicy(
  file: string,
  folder: string,
): Promise<Pick<RuntimeOptions, "allowlist" | "policy">> {
  if (/\.[cm]?[jt]s$/u.test(file)) {
    const { loaded } = await loadUsersModule(resolve(folder, file)).catch(async (error: Error) => {
      throw new CliError(2, `--policy: ${file}: ${await withPlace(error.message, error)}`);
    });
    if (typeof loaded.default !== "function") {
      throw new CliError(2, `--policy: ${file}: expected a policy function as its default export`);
    }
    return { allowlist: openLists, policy: loaded.default as Policy };
  }
  const read = listsShape(await readDocument(file, folder, "policy"));
  if (read instanceof type.errors)
    throw new CliError(2, `--policy: ${file}: ${read.summary.replaceAll("\n", "; ")}`);
  return { allowlist: { allowed: [], approvalRequired: [], denied: [], ...read } };
}

/** Who may be asked and called in the replays of one command. */
export interface ReplayWorld {
  replay(
    recording: StepRecording,
    artifacts: Pick<ArtifactStore, "get">,
    onEvent: (event: ReplayEvent) => void,
  ): Promise<ReplayEnd>;
}

/**
 * Lends what replays need: models where they may be asked, and tool servers where new calls may be made; neither is
 * opened for a replay that stays with its recording.
 *
 * @throws InvalidSetting, CliError
 */
export async function withReplays<T>(
  context: Context,
  asked: AskedReplay,
  work: (world: ReplayWorld) => Promise<T>,
): Promise<T> {
  const { config, env, stopping } = context;
  const { settings } = config;
  const models = asked.isChanged
    ? await composeModels(config, env, pricesOf(settings), silent)
    : null;
  const { allowlist } = await chooseTools(config, env);
  const options = runtimeOptions(settings, allowlist);
  const within = (tools: ToolHost | null) =>
    work({
      replay: (recording, artifacts, onEvent) =>
        replayOne(
          { recording, asked, models, tools, options, artifacts, onEvent },
          stopping.signal,
        ),
    });
  return asked.newCalls === "none"
    ? within(null)
    : withTools(context, undefined, ({ host }) => within(host), true);
}

interface OneReplay extends Pick<ReplayPlan, "recording" | "artifacts" | "onEvent"> {
  asked: AskedReplay;
  models: ModelProvider | null;
  tools: ToolHost | null;
  options: RuntimeOptions;
}

async function replayOne(
  { asked: { policy, ...asked }, ...given }: OneReplay,
  signal: AbortSignal,
): Promise<ReplayEnd> {
  const made = { path: ":memory:", consumer: "replay", clock: systemClock };
  const backend = await createSqliteBackend(made);
  try {
    const schemas = createSchemaChecker();
    const { options } = given;
    const plan = {
      ...given,
      newPolicy: options,
      ...asked,
      ...(policy === null ? {} : { policy }),
      schemas,
      backend,
    };
    return await replayStep(plan as ReplayPlan, signal);
  } finally {
    await backend.close();
  }
}

const silent = { debug() {}, info() {}, warn() {}, error() {} };
