import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { ReplayEnd } from "../../actors/replay/plan.ts";
import { readDataset } from "../../evals/datasets.ts";
import { pathProblem } from "../../evals/within.ts";
import { readRunRecording, type RunRecording } from "../../evals/replay/run-recording.ts";
import { isJsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { numberedEffects } from "../../machines/contracts/domain/recording.ts";
import type { Command, Context } from "../command.ts";
import { artifactsOf } from "../compose/compose-ports.ts";
import { CliError } from "../output/errors.ts";
import { plain } from "../output/plain.ts";
import { type AskedReplay, askedReplay, withReplays } from "../replay/replay-plan.ts";
import { exitCodeOf } from "../replay/tell-replay.ts";

interface Replayed {
  task: string;
  step: string;
  end: ReplayEnd;
}

/** `eval replay RECORDING|DATASET`: every recorded step once more, and what differed. */
export const replayEvals: Command = async (context) => {
  const { invocation, config, output } = context;
  const [path = ""] = invocation.args;
  const asked = inMode(await askedReplay(context), invocation.flags["mode"], invocation.flags);
  const recordings = await readRecordings(path, context);
  checkFork(context, recordings);
  const artifacts = artifactsOf(config);
  const all: Replayed[] = await withReplays(context, asked, async ({ replay }) => {
    const replayed: Replayed[] = [];
    for (const { task, recording } of recordings) {
      for (const step of recording.steps) {
        const end = await replay(step, artifacts, () => {});
        replayed.push({ task, step: step.stepId, end });
        if (output.isJson) output.json({ task, step: step.stepId, ...end });
      }
    }
    return replayed;
  });
  const missing = recordings.flatMap(({ recording }) => recording.missing);
  if (!output.isJson) {
    const headings = ["TASK", "STEP", "CAME OUT", "SERVED", "MADE", "REFUSED", "FORKED AT"];
    output.table(headings, all.map(row));
    for (const { step, end } of all) {
      for (const difference of end.differences) output.line(plain(`${step}: ${difference}`));
    }
  }
  if (missing.length > 0) output.remark(`nothing is recorded of ${missing.join(", ")}`);
  if (all.length === 0)
    throw new CliError(2, `${path}: nothing is recorded that could be replayed`);
  return all.some(({ end }) => exitCodeOf(end, asked.isChanged) !== 0) ? 1 : 0;
};

/** @throws CliError for a fork that no step comes to */
function checkFork(
  { invocation, output }: Context,
  recordings: readonly { recording: RunRecording }[],
): void {
  const at = invocation.flags["fork-at"];
  const steps = recordings.flatMap(({ recording }) => recording.steps);
  if (at === undefined || steps.length === 0) return;
  const told = steps.map((step) => ({ step: step.stepId, count: numberedEffects(step) }));
  const short = told.filter(({ count }) => count < Number(at));
  const words = short.map(({ step, count }) => `${step} has ${count} recorded effects`).join(", ");
  if (short.length === told.length) throw new CliError(2, `--fork-at ${String(at)}: ${words}`);
  if (short.length > 0) output.remark(`replayed without a fork: ${words}`);
}

/** FerrumDeck's two modes: `simulation` asks models and serves tools, `full` does all of it anew. */
function inMode(
  asked: AskedReplay,
  mode: string | true | undefined,
  flags: Record<string, unknown>,
): AskedReplay {
  if (mode === undefined) return asked;
  if (mode !== "simulation" && mode !== "full") {
    throw new CliError(2, `--mode: expected simulation or full, not "${String(mode)}"`);
  }
  if (mode === "full" && flags["live"] !== true) {
    throw new CliError(2, "--mode full calls every tool for real: confirm it with --live");
  }
  return { ...asked, forkAt: asked.forkAt ?? 1, isChanged: true, remakesCalls: mode === "full" };
}

const row = ({ task, step, end }: Replayed): string[] => [
  task,
  step,
  end.result === null ? `stopped: ${end.stoppedBecause ?? ""}` : end.result.status,
  String(end.served),
  String(end.made),
  String(end.refused),
  end.forkedAt === null ? "" : String(end.forkedAt),
];

/** Of one file, or of every task of a dataset that names one. @throws CliError */
async function readRecordings(
  path: string,
  { folder }: Pick<Context, "folder">,
): Promise<{ task: string; recording: RunRecording }[]> {
  const file = resolve(folder, path);
  const own = file.endsWith(".json") ? await readJson(file, path) : null;
  if (isJsonObject(own) && own["format"] === "stateplane-run-recording/1") {
    const recording = checked(own, path);
    return [{ task: recording.run.id, recording }];
  }
  const { tasks, bad } = await readDataset(file);
  const [first] = bad;
  if (first !== undefined) throw new CliError(2, `${first.file}:${first.line}: ${first.problem}`);
  const found: { task: string; recording: RunRecording }[] = [];
  for (const { id, config, from } of tasks) {
    const { recording: named } = config;
    if (typeof named !== "string") continue;
    const problem = await pathProblem(dirname(from.file), named);
    if (problem !== null)
      throw new CliError(2, `${from.file}:${from.line}: config.recording: ${problem}`);
    const place = resolve(dirname(from.file), named);
    found.push({ task: id, recording: checked(await readJson(place, named), named) });
  }
  return found;
}

async function readJson(file: string, shown: string): Promise<unknown> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`;
    throw new CliError(2, `${shown}: ${why}`);
  });
  const read = parseJson(text);
  if (!read.ok) throw new CliError(2, `${shown}: ${read.problem}`);
  return read.value;
}

function checked(given: unknown, shown: string): RunRecording {
  const read = readRunRecording(given);
  if (typeof read === "string") throw new CliError(2, `${shown}: ${read}`);
  return read;
}
