import { readFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { ulid } from "ulid";
import { ChangedCode, openCheckpoints, UnwrittenCheckpoint } from "../../evals/checkpoints.ts";
import { openCache } from "../../evals/cache.ts";
import type { EvalReport } from "../../evals/contracts.ts";
import { digestOf, digestOfPath } from "../../evals/digest.ts";
import { fixtureOf } from "../../evals/fixtures.ts";
import { functionRunner } from "../../evals/function-runner.ts";
import { type MadeUpBy, madeUpBy } from "../../evals/made-up.ts";
import { mockRunner } from "../../evals/mock-runner.ts";
import { planeRunner } from "../../evals/plane-runner.ts";
import { reportFormat, writeReport } from "../../evals/report-file.ts";
import { type EvalEnd, runEval } from "../../evals/run-eval.ts";
import { metered } from "../../evals/spending.ts";
import type { Suite } from "../../evals/suite.ts";
import { placeOf } from "../../evals/suite-tasks.ts";
import type { TrialRunner } from "../../evals/trial.ts";
import { readWorkflow } from "../../adapters/workflows/read.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import type { Command, Context } from "../command.ts";
import { artifactsOf } from "../compose/compose-ports.ts";
import { evalFolder, openChecks, startEvalPlane } from "../compose/eval-plane.ts";
import type { Config } from "../config/load-config.ts";
import { settingSources } from "../config/setting-sources.ts";
import type { SettingKey } from "../config/settings.ts";
import { version } from "../main.ts";
import { loadUsersModule, watchUsersModules } from "../config/users-modules.ts";
import { CliError, failureError } from "../output/errors.ts";
import { holdFolder } from "./eval-lock.ts";
import { progressOf, tellEnd } from "./eval-progress.ts";
import { readChanges, readLimits } from "./eval-options.ts";
import { digestOfCode, judgesModels, openSuite } from "./eval-suites.ts";
import { openLog } from "./long-running.ts";
import { openApi } from "./with-control-plane.ts";

/** `eval run SUITE`. */
export const runEvals: Command = async (context) => {
  const { invocation, config, folder, output, stopping } = context;
  const { flags } = invocation;
  const named = invocation.args[0] ?? flags["suite"];
  if (typeof named !== "string") throw new CliError(2, "eval run: expected the name of a suite");
  const models = metered(await judgesModels(context));
  const suite = await openSuite(named, context, readChanges(context), models);
  const limits = readLimits(flags);
  const isMock = flags["mock"] === true;
  if (isMock) output.remark("MOCK: every answer is made up, and says nothing about an agent");
  const { dataDir, controlPlaneUrl } = config.settings;
  const place = isMock
    ? "mock"
    : suite.definition.run !== undefined
      ? "in-process"
      : (controlPlaneUrl ?? "embedded");
  if (flags["cache"] === true && place === controlPlaneUrl)
    throw new CliError(2, `--cache: nobody here knows what has changed at ${place}`);
  const runBy = await runByOf(suite, place, config);
  const { locks, code, settings } = suite;
  const identity = digestOf({ runBy, locks: { ...locks }, code, runs: settings.runs });
  const work = evalFolder(
    dataDir,
    `${suite.definition.name.replaceAll(/[^\w-]+/gu, "-")}-${identity.slice(0, 16)}`,
  );
  await using held = await holdFolder(work, flags["fresh"] === true);
  const started_at = new Date().toISOString();
  const checkpoints = await openCheckpoints(join(work, "checkpoints.jsonl"));
  if (checkpoints.changed.length > 0)
    output.remark(
      `${checkpoints.changed.map((path) => relative(folder, path)).join(", ")} changed since: every trial is made again`,
    );
  const stop = new AbortController();
  const onStop = () => stop.abort("it was interrupted");
  stopping.signal.addEventListener("abort", onStop, { once: true });
  const timer =
    limits.maxTimeMs === null
      ? undefined
      : setTimeout(
          () => stop.abort(`it had taken ${limits.maxTimeMs} ms, its limit`),
          limits.maxTimeMs,
        );
  const workspace = suite.settings.workspace ?? held.workspace;
  let end: EvalEnd;
  using later = watchUsersModules();
  try {
    await using checks = openChecks(workspace, Math.max(suite.settings.timeout_ms, 60_000));
    await using opened = await openRunner(context, suite, place, {
      workspace,
      work,
      signal: stop.signal,
    });
    const tell = progressOf(context, suite);
    end = await runEval({
      suite,
      runner: opened.runner,
      checkpoints: {
        ...checkpoints,
        async finish(trial) {
          for (const [path, digest] of later.taken()) await checkpoints.loaded(path, digest);
          await checkpoints.finish(trial);
        },
      },
      cache:
        flags["cache"] === true && !isMock
          ? openCache(evalFolder(dataDir, "cache"), runBy, () => !later.isLoaded())
          : null,
      workplace: { workspace, unseen: held.unseen },
      checks: isMock ? null : checks,
      maxCost: limits.maxCost,
      onTrial: tell,
      signal: stop.signal,
    });
  } catch (error) {
    const isTold = error instanceof UnwrittenCheckpoint || error instanceof ChangedCode;
    throw isTold ? new CliError(2, error.message) : error;
  } finally {
    clearTimeout(timer);
    stopping.signal.removeEventListener("abort", onStop);
    await checkpoints.close();
  }
  if (end.refused !== null) throw new CliError(2, `no trial can be made: ${end.refused}`);
  const { model, gates = {} } = suite.definition;
  const made = isMock
    ? null
    : madeUpBy(end.trials, gates, place === "embedded" && model !== undefined);
  if (made !== null) output.remark(`MOCK: ${madeUpWords[made](place)}`);
  const report = await reportOf(suite, end, {
    place,
    isMock: isMock || made !== null,
    started_at,
  });
  const file = resolve(
    folder,
    typeof flags["output"] === "string"
      ? flags["output"]
      : join("evals", "reports", `${suite.definition.name}.json`),
  );
  await writeReport(file, report);
  if (report.complete) await held.forget();
  if (output.isJson) output.json(report);
  else tellEnd(context, report, file);
  if (stopping.signal.aborted) return 130;
  const trials = report.tasks.flatMap((task) => task.trials);
  return report.complete && trials.every(({ passed }) => passed) ? 0 : 1;
};

const ifMeant = "If that is meant, set deterministic: true under the suite's gates";
const madeUpWords: Record<MadeUpBy, (place: string) => string> = {
  "stand-in": (place) =>
    place === "embedded"
      ? "no model's key is set, so every answer of a model was made up"
      : "a worker there has no model's key, so answers of a model were made up",
  script: (place) =>
    `a script or a recording${place === "embedded" ? "" : " there"} answered in place of a model. ${ifMeant}`,
  judge: () => `a script or a recording answered in place of a judge. ${ifMeant}`,
};

/** All that makes a trial what it is, beside its task. */
async function runByOf(
  { definition, settings, folder, scorers, code }: Suite,
  place: string,
  ownConfig: Config,
): Promise<Json> {
  const textOf = async (path: string | undefined) => {
    const found = path === undefined ? null : await placeOf(folder, path);
    return found === null ? null : digestOf(await readFile(found, "utf8"));
  };
  const { agent = null, config, workflow } = definition;
  const codeOf = async (path: string) => {
    const found = (await placeOf(folder, path)) ?? path;
    const read = /\.m?[jt]s$/u.test(found) ? await loadUsersModule(found).catch(() => null) : null;
    return read === null ? textOf(path) : digestOfCode(read.files, folder);
  };
  const isCode =
    typeof config === "function" || definition.run !== undefined || definition.model !== undefined;
  return {
    version,
    place,
    configured: await configured(ownConfig),
    agent,
    config: typeof config === "string" ? await codeOf(config) : null,
    workflow: (await textOf(workflow)) ?? null,
    // What its functions do is seen in its files alone.
    code: isCode ? code : null,
    approvals: settings.approvals,
    timeout: settings.timeout_ms,
    seen: scorers.flatMap(({ scorer }) => [...(scorer.needs ?? []), ...scorer.reads]),
  };
}

/** Where things are kept, and how they are told, changes no trial. */
const beside = new Set<string>([
  "dataDir",
  "port",
  "workerName",
  "logLevel",
  "logFormat",
  "concurrency",
]);

/** The digest of the user's own configuration: which keys there are, and not what they are; the texts of its functions. */
async function configured({ settings, file: from, code }: Config): Promise<string> {
  const known = Object.entries(settings).map(([key, value]: [string, unknown]) => {
    const { mask } = settingSources[key as SettingKey] ?? {};
    return [key, beside.has(key) ? null : mask === "secret" ? value !== null : value];
  });
  const text = JSON.stringify(known, (_key, value: unknown) =>
    typeof value === "function" ? String(value) : value,
  );
  const { mcpConfigPath: file } = settings;
  const mcp = file === null ? "" : await readFile(file, "utf8").catch(() => "");
  return digestOf([text, mcp, await digestOfCode(code, dirname(from ?? "."))]);
}

interface Opened extends AsyncDisposable {
  runner: TrialRunner;
}

async function openRunner(
  context: Context,
  suite: Suite,
  place: string,
  { workspace, work, signal }: { workspace: string; work: string; signal: AbortSignal },
): Promise<Opened> {
  const { config } = context;
  const { definition, settings } = suite;
  const nothing = async () => {};
  if (place === "mock") return { runner: mockRunner, [Symbol.asyncDispose]: nothing };
  if (definition.run !== undefined)
    return { runner: functionRunner(definition.run), [Symbol.asyncDispose]: nothing };
  const { projectId, requestTimeoutMs: timeoutMs, apiKey } = config.settings;
  const plane =
    place === "embedded"
      ? await startEvalPlane(context, suite, {
          workspace,
          dataDir: join(work, "plane"),
          log: openLog(context, "warn"),
        })
      : null;
  if (plane === null && apiKey === null)
    throw new CliError(2, `FD_API_KEY is not set: expected the key of ${place}`);
  if (plane === null && (definition.model ?? definition.config) !== undefined)
    context.output.remark(`the suite's own model and configuration are not those of ${place}`);
  const target = plane?.dev ?? { url: place, apiKey: apiKey ?? "" };
  const api = openApi({ url: target.url, apiKey: target.apiKey, timeoutMs }, config);
  const over = new AbortController();
  const close = async () => {
    over.abort();
    if (signal.aborted) plane?.dev.hurry();
    await plane?.dev.close();
    await api.close();
  };
  try {
    const agents = plane?.dev.agents.map(({ slug }) => slug) ?? [];
    const runner = await planeRunner({
      api,
      place,
      projectId,
      agent: definition.agent ?? (agents.length === 1 ? (agents[0] ?? "assistant") : "assistant"),
      workflow: await workflowOf(suite),
      approvals: settings.approvals,
      artifacts: plane?.artifacts ?? artifactsOf(config),
      ...(plane === null ? {} : { statesOf: plane.statesOf }),
      signal: over.signal,
    });
    if (!runner.ok) throw failureError(runner.failure);
    return { runner: runner.value, [Symbol.asyncDispose]: close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function workflowOf({ definition: { workflow }, folder }: Suite) {
  const file = workflow === undefined ? null : await placeOf(folder, workflow);
  if (file === null) return null;
  const read = readWorkflow(await readFile(file, "utf8"));
  if (read.ok) return read.definition;
  throw new CliError(2, `${file}: ${read.problems.map(({ problem }) => problem).join("; ")}`);
}

async function reportOf(
  suite: Suite,
  { trials, stopped }: EvalEnd,
  { place, isMock, started_at }: { place: string; isMock: boolean; started_at: string },
): Promise<EvalReport> {
  const { definition, settings, tasks } = suite;
  return {
    format: reportFormat,
    id: `eval_${ulid()}`,
    suite: definition.name,
    agent: definition.agent ?? (place === "in-process" ? "in-process" : "assistant"),
    mock: isMock,
    control_plane: place,
    started_at,
    ended_at: new Date().toISOString(),
    complete: stopped === null,
    ...(stopped === null ? {} : { stopped_because: stopped }),
    epochs: settings.runs,
    approvals: settings.approvals,
    gates: definition.gates ?? {},
    locks: suite.locks,
    unread_expectations: suite.unread,
    bad_lines: suite.bad,
    tasks: await Promise.all(
      tasks.map(async (task) => {
        const fixture = fixtureOf(task);
        return {
          id: task.id,
          name: task.name,
          category: task.category,
          difficulty: task.difficulty,
          tags: task.tags,
          cluster: fixture === null ? task.id : await digestOfPath(fixture).catch(() => task.id),
          trials: trials
            .filter(({ task_id: id }) => id === task.id)
            .sort((a, b) => a.epoch - b.epoch),
        };
      }),
    ),
  };
}
