import type { Command } from "./command.ts";
import { loadConfig } from "./config/load-config.ts";
import { terminalColumns } from "./main.ts";
import { createOutput } from "./output/output.ts";
import { printError, toCliError } from "./output/errors.ts";
import type { Invocation } from "./program.ts";
import type { CommandName } from "./specs.ts";
import { listenForStop } from "./stopping.ts";

/** What each command does, loaded when it is asked for: a look at the runs needs no worker. */
const commands: Readonly<Record<CommandName, () => Promise<Command>>> = {
  dev: async () => (await import("./commands/dev.ts")).dev,
  worker: async () => (await import("./commands/worker.ts")).work,
  submit: async () => (await import("./commands/submit.ts")).submit,
  "runs list": async () => (await import("./commands/runs.ts")).listRuns,
  "runs get": async () => (await import("./commands/runs.ts")).getRun,
  "runs watch": async () => (await import("./commands/runs.ts")).watchRunCommand,
  "runs cancel": async () => (await import("./commands/runs.ts")).cancelRun,
  "steps show": async () => (await import("./commands/steps.ts")).showStep,
  "agents list": async () => (await import("./commands/runs.ts")).listAgents,
  "approvals list": async () => (await import("./commands/approvals.ts")).listApprovals,
  "approvals approve": async () => (await import("./commands/approvals.ts")).resolve(true),
  "approvals reject": async () => (await import("./commands/approvals.ts")).resolve(false),
  "dlq list": async () => (await import("./commands/dlq.ts")).listLetters,
  "dlq show": async () => (await import("./commands/dlq.ts")).showLetter,
  "dlq retry": async () => (await import("./commands/dlq.ts")).changeLetter("retry"),
  "dlq drop": async () => (await import("./commands/dlq.ts")).changeLetter("drop"),
  chart: async () => (await import("./commands/look.ts")).chart,
  config: async () => (await import("./commands/look.ts")).showConfig,
  doctor: async () => (await import("./commands/doctor.ts")).doctor,
};

/** Runs one command with this process's folder, environment and streams; returns the exit code. */
export async function run(invocation: Invocation): Promise<number> {
  const { env } = process;
  const folder = process.cwd();
  const { isJson, isDebug } = invocation;
  const output = createOutput({
    out: process.stdout,
    remarks: process.stderr,
    isJson,
    env,
    columns: terminalColumns(),
  });
  const stopping = listenForStop();
  try {
    const file = invocation.configFile;
    const config = await loadConfig({ flags: invocation.settings, env, folder, file });
    const command = await commands[invocation.command]();
    return await command({ invocation, config, env, folder, output, stopping });
  } catch (error) {
    if (stopping.signal.aborted) return 130;
    const cliError = toCliError(error);
    printError(cliError?.message ?? `unexpected: ${String(error)}; --debug shows where`);
    if (isDebug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
    return cliError?.exitCode ?? 1;
  } finally {
    stopping.release();
  }
}
