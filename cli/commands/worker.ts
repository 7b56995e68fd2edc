import { rm } from "node:fs/promises";
import { findControlPlane, requireControlPlane } from "../compose/find-control-plane.ts";
import { allowingLine, summary } from "../compose/look-at-tools.ts";
import { startWorker, type Worker } from "../compose/start-worker.ts";
import { collectWhenIdle } from "../collect-when-idle.ts";
import { compileSooner } from "../start-anew.ts";
import type { Command, Context } from "../command.ts";
import { maskUrl } from "../config/load-config.ts";
import { CliError } from "../output/errors.ts";
import type { Inspector } from "../compose/start-inspector.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { asksForInspector, openLog, workUntilStopped } from "./long-running.ts";
import { watchLoop } from "../nets.ts";
import { superviseProcesses } from "../supervise-processes.ts";

/** `worker`: takes jobs until it is told to stop. */
export const work: Command = async (context) => {
  const { config, env, stopping } = context;
  const inspector = asksForInspector(context);
  const target = requireControlPlane(config);
  const processes = readProcesses(context);
  if (processes > 1) return workInProcesses(context, processes);
  const log = openLog(context, "info");
  const { signal } = stopping;
  const { drainMs, leaseMs } = config.settings;
  const watch = watchLoop(leaseMs);
  let worker: Worker;
  try {
    worker = await startWorker(config, { env, log, inspector, onJobs: watch.begin }, () =>
      findControlPlane(config, target, log, signal),
    );
  } catch (error) {
    // Told to stop before it began: nothing was taken, and all is closed.
    if (signal.aborted) return 0;
    throw error;
  }
  const { store, tools, ports, servers } = worker;
  log.info(
    {
      store: store.describe,
      controlPlane: maskUrl(target.url),
      consumer: ports.queue.consumer,
      concurrency: config.settings.concurrency,
      sandbox: "missing" in ports.sandbox ? ports.sandbox.missing : ports.sandbox.driver,
      mcpServers: tools.servers.map(({ name }) => name),
    },
    "the worker takes jobs",
  );
  const note =
    worker.inspector === null ? null : await tellInspector(worker.inspector, context, log);
  for (const server of servers) {
    const about = { server: server.name, tools: server.refused ?? summary(server) };
    if (server.problem === null && server.refused === null) log.info(about, "MCP server is ready");
    else log.warn(about, "MCP server can't be used now");
    const fix = allowingLine(server, tools.listedIn);
    if (fix !== null)
      log.warn({ server: server.name, fix }, "no tool of this MCP server is allowed");
  }
  compileSooner();
  const stopLooking = collectWhenIdle(() => worker.runtime.snapshot().context);
  await workUntilStopped(worker, { stopping, watch }, () =>
    log.info({ drainMs }, "stopping: no more jobs are taken, steps may finish"),
  );
  stopLooking();
  if (note !== null) await rm(note, { force: true });
  log.info({}, "the worker has stopped");
  return 0;
};

const most = 64;

/** How many processes were asked for; 1 where none were. */
export function readProcesses({ invocation }: Context): number {
  const text = invocation.flags["processes"];
  if (text === undefined) return 1;
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= most) return count;
  throw new CliError(2, `--processes: expected a whole number from 1 to ${most}, not "${text}"`);
}

/** `worker --processes N`: the same command line, N times, supervised as one. */
export function workInProcesses(context: Context, count: number): Promise<number> {
  const [program = "", ...given] = process.argv.slice(1);
  const args = withoutFlag(given, "--processes");
  const { httpPort, inspectPort } = context.config.settings;
  // Each answers on a port of its own, one after the other.
  const portOf = (name: string, port: number | null, index: number) =>
    port === null || port === 0 ? {} : { [name]: String(port + index) };
  const start = (index: number) => ({
    args: [program, ...withoutFlag(args, "--inspect-port")],
    env: {
      ...process.env,
      ...portOf("WORKER_HTTP_PORT", httpPort, index),
      ...portOf("STATEPLANE_INSPECT_PORT", inspectPort, index),
    },
  });
  return superviseProcesses(count, start, openLog(context, "info"));
}

function withoutFlag(args: readonly string[], flag: string): string[] {
  const at = args.findIndex((arg) => arg === flag || arg.startsWith(`${flag}=`));
  return at < 0 ? [...args] : args.toSpliced(at, args[at] === flag ? 2 : 1);
}

/**
 * The address with its token goes to the terminal, where there is one, and to a file for this user alone: never into the
 * log, which others read.
 */
async function tellInspector(
  { address, url }: Inspector,
  { config }: Context,
  log: Log,
): Promise<string> {
  const { writeInspectorNote } = await import("../compose/start-inspector.ts");
  const file = await writeInspectorNote(config.settings.dataDir, address);
  log.info({ url, file }, "the machines can be looked at; the whole address stands in the file");
  if (process.stderr.isTTY) process.stderr.write(`Inspector: ${address}\n`);
  return file;
}
