import { join } from "node:path";
import type { StepEndNotice, StepEventNotice } from "../../actors/options.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Command, Context } from "../command.ts";
import { type Dev, startDev } from "../compose/start-dev.ts";
import { maskSecret } from "../config/load-config.ts";
import { readDevNote, removeDevNote, shownFile, writeDevNote } from "../dev-note.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";
import { CliError, failureText } from "../output/errors.ts";
import { allowingLine, summary } from "../compose/look-at-tools.ts";
import { secrets } from "../secrets.ts";
import { version } from "../main.ts";
import { configuredModels, shownProviders } from "../compose/compose-models.ts";
import { madeUpKeyVariable, mayStart } from "../watched.ts";
import { watchFiles } from "./watch-files.ts";
import { asksForInspector, openLog, workUntilStopped } from "./long-running.ts";
import { watchLoop } from "../nets.ts";
import { callLines } from "./runs.ts";
import { commandLine } from "../called-as.ts";

/** `dev`: a whole data plane until Ctrl-C. */
export const dev: Command = async (context) => {
  const { config, env, output, stopping } = context;
  const { dataDir } = config.settings;
  const log = openLog(context, "warn");
  const inspector = asksForInspector(context);
  if (!(await mayStart(context, log))) return 0;
  const other = await readDevNote(dataDir);
  if (other !== null) {
    const where = `at ${other.url}, process ${other.pid}`;
    throw new CliError(2, `another \`dev\` already runs with ${dataDir} (${where})`);
  }
  if (context.invocation.flags["watch"] === true) return watchFiles(context);
  const running = await startDev(withReports(keepingJournals(config), context.folder), {
    env,
    log,
    inspector,
    onStepEvent: (notice) => tell(notice, output),
  });
  try {
    const { url, apiKey, store } = running;
    const note = { url, apiKey, store: store.kind };
    const file = await writeDevNote(dataDir, note);
    introduce(running, context, file);
    // The control plane works on the same loop, without jobs too.
    const watch = watchLoop(config.settings.leaseMs);
    watch.begin();
    await workUntilStopped(running, { stopping, watch }, () =>
      output.remark("stopping: steps may finish; Ctrl-C again hands them back now"),
    );
  } finally {
    await running.close();
    await removeDevNote(dataDir);
  }
  return 0;
};

/** Whoever tries things out wants to look at what happened afterwards. */
const keepingJournals = (config: Context["config"]): Context["config"] =>
  config.settings.keepJournals === "auto"
    ? { ...config, settings: { ...config.settings, keepJournals: "on" } }
    : config;

/** What `eval run` writes in this project is shown in its console. */
const withReports = (config: Context["config"], folder: string): Context["config"] =>
  config.settings.evalsReportsPath === null
    ? {
        ...config,
        settings: { ...config.settings, evalsReportsPath: join(folder, "evals", "reports") },
      }
    : config;

function inspectorPairs({ inspector, inspectorProblem }: Dev): [string, string][] {
  if (inspector !== null) return [["inspector", inspector.address]];
  return inspectorProblem === null ? [] : [["inspector", `none: ${inspectorProblem}`]];
}

function introduce(running: Dev, { config, env, output }: Context, noteFile: string): void {
  const { url, apiKey, store, ports, tools, agents, inspector, inspectorProblem } = running;
  const { settings, sources } = config;
  const sandbox = "missing" in ports.sandbox ? ports.sandbox.missing : ports.sandbox.driver;
  const { servers } = running;
  const keyFrom =
    sources.apiKey === "default" || env[madeUpKeyVariable] === "1"
      ? `made up for this run; ${shownFile(settings.dataDir)} says where it is kept`
      : "FD_API_KEY";
  const slugs = agents.map(({ slug }) => slug);
  const models = running.isScripted
    ? "scripted: no key is set, so every answer is made up (set ANTHROPIC_API_KEY or OPENAI_API_KEY)"
    : configuredModels(settings, env);
  if (output.isJson) {
    const about = { url, pid: process.pid, noteFile, store: store.describe, sandbox };
    output.json({
      kind: "ready",
      ...about,
      models,
      mcpServers: servers.map(({ name }) => name),
      agents: slugs,
      ...(inspector === null ? {} : { inspector: inspector.address }),
      ...(inspectorProblem === null ? {} : { inspectorProblem }),
    });
    return;
  }
  output.line(output.colors.bold(`Stateplane ${version}`));
  output.pairs([
    ["control plane", url],
    ["console", `${url}/`],
    ...inspectorPairs(running),
    ["API key", `${maskSecret(apiKey)} (${keyFrom})`],
    ["store", store.describe],
    ["sandbox", sandbox],
    ["models", models],
    ...(servers.length === 0
      ? [["MCP servers", tools.describe] as [string, string]]
      : servers.map((server, at): [string, string] => [
          at === 0 ? "MCP servers" : "",
          `${server.name}: ${secrets.redact(server.refused ?? summary(server))}`,
        ])),
    ["agents", slugs.join(", ")],
    ["worker", `runs up to ${settings.concurrency} steps at once`],
  ]);
  for (const server of servers) {
    const line = allowingLine(server, tools.listedIn);
    if (line !== null) {
      output.line("");
      output.line(`No tool of ${plain(server.name)} is allowed. To allow some:`);
      output.line(`  ${plain(line)}`);
    }
  }
  output.line("");
  output.line("In another terminal, in this folder:");
  output.line(`  ${commandLine(`submit ${slugs[0] ?? "AGENT"} --task "Say hello" --watch`)}`);
  if (!running.isScripted && shownProviders(settings, env).length === 0)
    output.line("Its llm steps need a model, and none is configured.");
  output.line("Ctrl-C stops.");
  output.line("");
}

/** A step's states as it enters them, and how its session here ended: of a failed one with the reason. */
function tell(notice: StepEventNotice, output: Output): void {
  const { runId, stepId, stepType, kind } = notice;
  if (output.isJson) {
    const what =
      kind === "entered"
        ? { state: notice.state }
        : { how: notice.how, stateHistory: notice.stateHistory, ...outcomeOf(notice) };
    output.json({ kind: "step", runId, stepId, stepType, ...what });
    return;
  }
  const time = output.colors.dim(new Date().toISOString().slice(11, 19));
  const about = `${plain(stepId)}  ${(stepType ?? "unknown").padEnd(9)}`;
  const said = kind === "entered" ? notice.state : ending(notice, output);
  output.line(`${time}  ${about}  ${said}`);
  if (kind !== "ended") return;
  const result = notice.snapshot?.context.result ?? null;
  if (result === null) return;
  for (const call of callLines({ output: result.output })) output.line(`${time}  ${call}`);
}

function outcomeOf({ how, snapshot }: StepEndNotice): { status?: string; failure?: Failure } {
  const result = how === "settled" ? (snapshot?.context.result ?? null) : null;
  if (result === null) return {};
  if (result.status === "completed") return { status: result.status };
  return { status: result.status, failure: result.failure };
}

function ending(notice: StepEndNotice, { colors }: Output): string {
  const { status, failure } = outcomeOf(notice);
  if (failure !== undefined)
    return colors.red(plain(`failed  ${failureText(failure.kind, failure.message)}`));
  if (status !== undefined) return colors.green(status);
  return colors.dim(`(${notice.how})`);
}
