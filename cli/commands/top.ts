import { setTimeout as sleep } from "node:timers/promises";
import { dollars, microsPerCent } from "../../machines/contracts/domain/budget.ts";
import { isRunEnded } from "../../machines/contracts/domain/status.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { messageOf } from "../../machines/contracts/domain/users-code.ts";
import type { QueueStats, StepBackend } from "../../machines/contracts/ports/step-backend.ts";
import type { RunView } from "../../machines/contracts/wire/views.ts";
import type { Command, Context } from "../command.ts";
import { commandLine } from "../called-as.ts";
import { withBackend } from "../compose/choose-store.ts";
import { terminalColumns } from "../main.ts";
import { CliError, type ExitCode, toCliError } from "../output/errors.ts";
import { createOutput, type Output } from "../output/output.ts";
import { lasting } from "./run-trace.ts";
import { reason } from "./runs.ts";
import { type Client, withControlPlane } from "./with-control-plane.ts";

/** What is seen of all workers at one moment. What could not be asked is null, and `troubles` says why. */
interface Look {
  at: string;
  queue: QueueStats | null;
  /** Steps alive in the workers whose metrics were read, by state of the step's chart. */
  states: Record<string, number> | null;
  runs: { byStatus: Record<string, number>; tokens: number; cost_micros: number } | null;
  failures: { run: string; reason: string }[];
  troubles: string[];
}

/** What one look ends with, where it is the only one: that of the first trouble. */
type Looked = Look & { exitCode: ExitCode | 0 };

const runsLookedAt = 100;
const failuresShown = 5;
const metricsWithinMs = 2_000;
/** A worker that is free has a job sooner. */
const overdueMs = 5_000;

/**
 * `top`: in a terminal until Ctrl-C, whatever can't be asked; one look where it is piped or asked for as JSON, which
 * fails where something could not be asked.
 */
export const top: Command = async (context) => {
  const { output, stopping } = context;
  const everyMs = readEvery(context.invocation.flags["every"]);
  const workers = readWorkers(context);
  const isLive = !output.isJson && process.stdout.isTTY === true;
  return withBackend(context.config, "top", (backend) =>
    withControlPlane(context, async (client) => {
      for (;;) {
        const { exitCode, ...seen } = await look(context, { backend, client, workers });
        if (output.isJson) output.json(seen);
        else if (isLive) redraw(context, seen, everyMs);
        else show(seen, output);
        if (!isLive) return exitCode;
        await sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => {});
        if (stopping.signal.aborted) return 0;
      }
    }),
  );
};

function readEvery(text: string | true | undefined): number {
  if (text === undefined) return 2_000;
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0.5 && seconds <= 3_600) return seconds * 1_000;
  throw new CliError(2, `--every: expected seconds from 0.5 to 3600, not ${JSON.stringify(text)}`);
}

/** Where workers answer with their metrics: as the flag lists them, else this machine's own, if a port is set. */
function readWorkers({ config, invocation }: Context): URL[] {
  const given = invocation.flags["workers"];
  const { httpPort } = config.settings;
  if (typeof given !== "string") {
    return httpPort === null ? [] : [new URL(`http://127.0.0.1:${httpPort}/metrics`)];
  }
  return given.split(",").map((text) => {
    const url = URL.parse(text.includes("://") ? text : `http://${text}`);
    if (url === null || !/^https?:$/u.test(url.protocol)) {
      const expected = "expected addresses such as localhost:9464, with commas between them";
      throw new CliError(2, `--workers: ${expected}, not ${JSON.stringify(text)}`);
    }
    return new URL("/metrics", url);
  });
}

async function look(
  { config, stopping }: Context,
  { backend, client, workers }: { backend: StepBackend; client: Client; workers: readonly URL[] },
): Promise<Looked> {
  const troubles: string[] = [];
  let exitCode: Looked["exitCode"] = 0;
  const orNull = async <T>(what: string, asked: Promise<T>): Promise<T | null> => {
    try {
      return await asked;
    } catch (error) {
      const known = toCliError(error);
      const message = known?.message ?? messageOf(error);
      troubles.push(message.startsWith(what) ? message : `${what}: ${message}`);
      exitCode ||= known?.exitCode ?? 3;
      return null;
    }
  };
  const { api, signal, value } = client;
  const page = api.runs(config.settings.projectId, runsLookedAt, 0, signal);
  const [queue, found, ...texts] = await Promise.all([
    orNull("the store", backend.queue.stats()),
    orNull("the control plane", value(page)),
    ...workers.map((url) => orNull(`the worker at ${url.host}`, metricsOf(url, stopping.signal))),
  ]);
  const read = texts.filter((text) => text !== null);
  return {
    at: new Date().toISOString(),
    queue,
    states: read.length === 0 ? null : statesIn(read.join("\n")),
    runs: found === null ? null : countRuns(found.runs),
    failures: (found?.runs ?? []).filter(isFailed).slice(0, failuresShown).map(failureOf),
    troubles,
    exitCode,
  };
}

async function metricsOf(url: URL, signal: AbortSignal): Promise<string> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(metricsWithinMs)]);
  const answer = await fetch(url, { signal: within }).catch(() => {
    throw new Error("it can't be reached, or does not answer");
  });
  if (!answer.ok) throw new Error(`it answers its metrics with status ${answer.status}`);
  return answer.text();
}

/** Summed over all workers whose text is in it. */
function statesIn(text: string): Record<string, number> {
  const states: Record<string, number> = {};
  const line = /^stateplane_steps_running\{(?:[^}]*,)?state="([a-z-]+)"[^}]*\} (\d+)/gmu;
  for (const [, state = "", count] of text.matchAll(line)) {
    states[state] = (states[state] ?? 0) + Number(count);
  }
  return states;
}

function countRuns(runs: readonly RunView[]): NonNullable<Look["runs"]> {
  const byStatus: Record<string, number> = {};
  let [tokens, cost] = [0, 0];
  for (const run of runs) {
    byStatus[run.status] = (byStatus[run.status] ?? 0) + 1;
    tokens += (run.input_tokens ?? 0) + (run.output_tokens ?? 0);
    cost += run.cost_micros ?? (run.cost_cents ?? 0) * microsPerCent;
  }
  return { byStatus, tokens, cost_micros: cost };
}

const isFailed = ({ status }: RunView) =>
  isRunEnded(status) && status !== "completed" && status !== "cancelled";

/** What its error says: that a step failed, which is the reason by FerrumDeck's word, helps nobody. */
const failureOf = ({ id, status, status_reason: why, error }: RunView) => ({
  run: id,
  reason: cutText((error == null ? why : reason({ error, output: null })) ?? status, 120),
});

/** Writes over what stands there, so that nothing flickers. */
function redraw({ env }: Context, seen: Look, everyMs: number): void {
  const parts: string[] = [];
  const out = { isTTY: true, write: (text: string) => void parts.push(text) };
  const output = createOutput({
    out,
    remarks: out,
    isJson: false,
    env,
    columns: terminalColumns(),
  });
  output.line(output.colors.dim(`${seen.at}   every ${lasting(everyMs)}   Ctrl-C ends it`));
  show(seen, output);
  const rows = process.stdout.rows || Number.POSITIVE_INFINITY;
  const lines = parts
    .join("")
    .split("\n")
    .slice(0, rows - 1);
  process.stdout.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join("\n")}\u001b[J`);
}

function show({ queue, states, runs, failures, troubles }: Look, output: Output): void {
  const pairs: [string, string][] = [];
  if (queue !== null) {
    const { length, pending, waitingMs, parked, deadLetters } = queue;
    const oldest = waitingMs === null ? "" : `, the next one for ${lasting(waitingMs)}`;
    pairs.push(["waiting", `${Math.max(0, length - pending)}${oldest}`]);
    pairs.push(["taken", String(pending)]);
    pairs.push(["parked", String(parked)], ["dead letters", String(deadLetters)]);
  }
  if (states !== null) pairs.push(["steps now", counted(states) || "none"]);
  if (runs !== null) {
    pairs.push([`newest ${runsLookedAt} runs`, counted(runs.byStatus) || "none"]);
    pairs.push(["they cost", `${dollars(runs.cost_micros)}, ${runs.tokens} tokens`]);
  }
  output.pairs(pairs);
  // Of SQLite's workers only those that hold a job are known: until one is overdue, nothing is missed.
  if (queue?.consumers.length === 0 && (queue.waitingMs ?? 0) > overdueMs) {
    output.line("");
    output.prose(`no worker takes what waits; to start one: ${commandLine("worker")}`);
  }
  if (queue !== null && queue.consumers.length > 0) {
    const rows = queue.consumers.map(({ name, taken }) => [name, String(taken)]);
    output.line("");
    output.table(["WORKER", "TAKEN"], rows.toSorted());
  }
  if (failures.length > 0) {
    output.line("");
    const rows = failures.map((failed) => [failed.run, failed.reason]);
    output.table(["NEWEST FAILURES", "WHY"], rows);
  }
  for (const trouble of troubles) output.line(output.colors.red(trouble));
}

const counted = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .toSorted(([one], [other]) => one.localeCompare(other))
    .map(([name, count]) => `${count} ${name.replaceAll("_", " ")}`)
    .join(", ");
