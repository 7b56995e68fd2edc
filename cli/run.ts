import type { Command } from "./command.ts";
import { messageOf, stackOf } from "../machines/contracts/domain/users-code.ts";
import { repeatFlags, word } from "./called-as.ts";
import { type Config, loadConfig } from "./config/load-config.ts";
import { terminalColumns } from "./main.ts";
import { refuseMixedUpIds } from "./mixed-up-ids.ts";
import { guardProcess } from "./nets.ts";
import { consoleTo, watchStandardOutput } from "./output/standard-output.ts";
import { createOutput } from "./output/output.ts";
import { printCliError, printError, toCliError } from "./output/errors.ts";
import type { Invocation } from "./program.ts";
import { learnSecrets, secrets } from "./secrets.ts";
import { type CommandName, type CommandSpec, specs } from "./specs.ts";
import { staying } from "./start-anew.ts";
import { listenForStop, type Stopping } from "./stopping.ts";
import { reportLoadedFiles, watchedVariable } from "./watched.ts";

/** What each command does, loaded when it is asked for: a look at the runs needs no worker. */
const commands: Readonly<Record<CommandName, () => Promise<Command>>> = {
  init: async () => (await import("./commands/init.ts")).init,
  dev: async () => (await import("./commands/dev.ts")).dev,
  worker: async () => (await import("./commands/worker.ts")).work,
  submit: async () => (await import("./commands/submit.ts")).submit,
  "runs list": async () => (await import("./commands/runs.ts")).listRuns,
  "runs get": async () => (await import("./commands/runs.ts")).getRun,
  "runs watch": async () => (await import("./commands/runs.ts")).watchRunCommand,
  "runs trace": async () => (await import("./commands/run-trace.ts")).traceRun,
  "runs cancel": async () => (await import("./commands/runs.ts")).cancelRun,
  "steps show": async () => (await import("./commands/steps.ts")).showStep,
  "steps replay": async () => (await import("./commands/steps-replay.ts")).replayStepCommand,
  "agents list": async () => (await import("./commands/runs.ts")).listAgents,
  "approvals list": async () => (await import("./commands/approvals.ts")).listApprovals,
  "approvals approve": async () => (await import("./commands/approvals.ts")).approve,
  "approvals reject": async () => (await import("./commands/approvals.ts")).reject,
  top: async () => (await import("./commands/top.ts")).top,
  "audit tail": async () => (await import("./commands/audit.ts")).tailAudit,
  "audit verify": async () => (await import("./commands/audit.ts")).verifyAudit,
  "policy list": async () => (await import("./commands/policies.ts")).listPolicies,
  "policy apply": async () => (await import("./commands/policies.ts")).applyPolicies,
  "policy delete": async () => (await import("./commands/policies.ts")).deletePolicy,
  "policy explain": async () => (await import("./commands/policies.ts")).explainPolicy,
  "policy prove": async () => (await import("./commands/policy-prove.ts")).provePolicy,
  "control-plane": async () => (await import("./commands/control-plane.ts")).controlPlane,
  backup: async () => (await import("./commands/backup.ts")).backup,
  "tenants list": async () => (await import("./commands/tenants.ts")).listTenants,
  "tenants create": async () => (await import("./commands/tenants.ts")).createTenant,
  "budgets show": async () => (await import("./commands/budgets.ts")).showBudgets,
  "budgets set": async () => (await import("./commands/budgets.ts")).setBudget,
  "keys list": async () => (await import("./commands/keys.ts")).listKeys,
  "keys create": async () => (await import("./commands/keys.ts")).createKey,
  "keys rotate": async () => (await import("./commands/keys.ts")).rotateKey,
  "keys revoke": async () => (await import("./commands/keys.ts")).revokeKey,
  "dlq list": async () => (await import("./commands/dlq.ts")).listLetters,
  "dlq show": async () => (await import("./commands/dlq.ts")).showLetter,
  "dlq retry": async () => (await import("./commands/dlq.ts")).changeLetter("retry"),
  "dlq drop": async () => (await import("./commands/dlq.ts")).changeLetter("drop"),
  "retrieval ingest": async () => (await import("./commands/retrieval.ts")).ingestFiles,
  "retrieval search": async () => (await import("./commands/retrieval.ts")).searchCollection,
  "retrieval collections": async () => (await import("./commands/retrieval.ts")).listCollections,
  "workflow validate": async () => (await import("./commands/workflow.ts")).validateWorkflow,
  "workflow graph": async () => (await import("./commands/workflow.ts")).drawWorkflow,
  "workflow run": async () => (await import("./commands/workflow-run.ts")).runWorkflow,
  "workflow watch": async () => (await import("./commands/workflow-run.ts")).watchWorkflow,
  "eval run": async () => (await import("./commands/eval-run.ts")).runEvals,
  "eval list": async () => (await import("./commands/eval-suites.ts")).listEvals,
  "eval compare": async () => (await import("./commands/eval-gate.ts")).compareEvals,
  "eval gate": async () => (await import("./commands/eval-gate.ts")).gateEval,
  "eval report": async () => (await import("./commands/eval-report.ts")).reportEval,
  "eval from-run": async () => (await import("./commands/eval-from-run.ts")).taskFromRun,
  "eval replay": async () => (await import("./commands/eval-replay.ts")).replayEvals,
  "eval judge": async () => (await import("./commands/eval-judge.ts")).calibrateJudge,
  "tools list": async () => (await import("./commands/tools.ts")).listTools,
  "tools show": async () => (await import("./commands/tools.ts")).showTool,
  "tools call": async () => (await import("./commands/tools-call.ts")).callTool,
  "tools diff": async () => (await import("./commands/tools-pins.ts")).diffTools,
  "tools accept": async () => (await import("./commands/tools-pins.ts")).acceptTools,
  "mcp git": async () => (await import("./commands/mcp.ts")).runServer("git"),
  "mcp test-runner": async () => (await import("./commands/mcp.ts")).runServer("test-runner"),
  "machine list": async () => (await import("./commands/machine.ts")).listMachines,
  "machine show": async () => (await import("./commands/machine.ts")).showMachine,
  "machine export": async () => (await import("./commands/machine.ts")).exportMachine,
  config: async () => (await import("./commands/look.ts")).showConfig,
  prices: async () => (await import("./commands/prices.ts")).showPrices,
  completion: async () => (await import("./commands/completion.ts")).completion,
  doctor: async () => (await import("./commands/doctor.ts")).doctor,
};

/** Runs one command with this process's folder, environment and streams; returns the exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { isJson, isDebug } = invocation;
  guardProcess({ isDebug });
  // Standard output is for the answer.
  consoleTo(process.stderr);
  const { env } = process;
  const folder = process.cwd();
  const output = createOutput({
    out: process.stdout,
    remarks: process.stderr,
    isJson,
    env,
    columns: terminalColumns(),
  });
  // Until the configuration is read there is nothing to let finish, and it may never come: a signal ends the process.
  let stopping: Stopping | null = null;
  const standard = watchStandardOutput(() => stopping?.ask());
  return standard.end(await runCommand(), isLongRunning(invocation));

  async function runCommand(): Promise<number> {
    try {
      if (env[watchedVariable] !== undefined) reportLoadedFiles();
      const file = invocation.configFile;
      const config = await loadConfig({ flags: invocation.settings, env, folder, file });
      stopping = listenForStop();
      repeatFlags((rest) => flagsOf(rest, invocation, config));
      learnSecrets(config.settings, env);
      if (!isLongRunning(invocation)) config.misspelt.forEach(printError);
      refuseMixedUpIds(invocation.command, invocation.args);
      const command = await commands[invocation.command]();
      return await command({ invocation, config, env, folder, output, stopping });
    } catch (error) {
      if (stopping?.signal.aborted === true) return 130;
      const cliError = toCliError(error);
      if (cliError === null) printError(`unexpected: ${messageOf(error)}; --debug shows where`);
      else printCliError(cliError);
      if (isDebug) process.stderr.write(`${secrets.redact(stackOf(error))}\n`);
      return cliError?.exitCode ?? 1;
    } finally {
      stopping?.release();
    }
  }
}

/** So that a hint leads to the same data folder, control plane and configuration as this command had. */
function flagsOf(rest: string, { configFile }: Invocation, { settings, sources }: Config): string {
  const names = Object.keys(specs) as CommandName[];
  const name = names.find((known) => rest === known || rest.startsWith(`${known} `));
  if (name === undefined) return "";
  const { settings: taken }: CommandSpec = specs[name];
  const said = (key: "dataDir" | "controlPlaneUrl", by: RegExp) =>
    taken.includes(key) && by.test(sources[key]) ? settings[key] : null;
  const url = said("controlPlaneUrl", /^flag/u);
  const flags = [
    ["--config", configFile],
    ["--data-dir", said("dataDir", /^(?:flag|environment)/u)],
    // One with a password in it is for nobody's screen.
    ["--control-plane", url?.includes("@") === true ? null : url],
  ] as const;
  return flags
    .flatMap(([flag, value]) => (value === null ? [] : [` ${flag} ${word(value)}`]))
    .join("");
}

const isLongRunning = ({ command }: Invocation) => staying.has(command);
