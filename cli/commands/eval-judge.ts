import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { createSchemaChecker } from "../../adapters/schemas/checker.ts";
import { type Calibration, calibrate, readLabels } from "../../evals/judges/calibrate.ts";
import { registry } from "../../evals/scorers/all.ts";
import { isJudgeEntry } from "../../evals/scorers/judges.ts";
import { makeScorer } from "../../evals/scorers/registry.ts";
import { beatsChance, type Rate } from "../../evals/statistics/agreement.ts";
import { composeModels, pricesOf } from "../compose/compose-models.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { readDocument } from "./read-document.ts";

/** `eval judge calibrate LABELS --judge FILE`: exit code 0 for a judge that the labels show to be better than chance. */
export const calibrateJudge: Command = async (context) => {
  const { invocation, folder, output, stopping } = context;
  const [verb, file = ""] = invocation.args;
  if (verb !== "calibrate") throw new CliError(2, `eval judge: expected calibrate, not "${verb}"`);
  const { judge, parallel = "4" } = invocation.flags;
  if (typeof judge !== "string")
    throw new CliError(2, "eval judge calibrate: expected --judge FILE");
  const atOnce = Number(parallel);
  if (!(Number.isSafeInteger(atOnce) && atOnce >= 1 && atOnce <= 64)) {
    throw new CliError(2, "--parallel: expected a whole number from 1 to 64");
  }
  const text = await readFile(resolve(folder, file), "utf8").catch(
    (error: NodeJS.ErrnoException) => {
      throw new CliError(
        2,
        `${file}: ${error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`}`,
      );
    },
  );
  const works = readLabels(text, file);
  if (typeof works === "string") throw new CliError(2, works);
  if (!works.some(({ label }) => label !== null)) {
    throw new CliError(2, `${file}: expected at least one line with a \`label\`, true or false`);
  }
  const scorer = await readJudge(judge, context);
  const calibration = await calibrate(scorer, works, {
    parallel: atOnce,
    signal: stopping.signal,
    onJudged: (done) => {
      if (done % 25 === 0) output.remark(`${done} of ${works.length} judged`);
    },
  });
  if (output.isJson) output.json(calibration);
  else print(calibration, output);
  return beatsChance(calibration.agreement) && calibration.broken.length === 0 ? 0 : 1;
};

async function readJudge(file: string, context: Context) {
  const { config, env, folder } = context;
  const entry = await readDocument(file, folder, "judge");
  if (!isJudgeEntry(entry)) {
    throw new CliError(
      2,
      `--judge: ${file}: expected a judge as a suite has it, such as {type: llm_judge, model: NAME}`,
    );
  }
  const models = await composeModels(config, env, pricesOf(config.settings), silent);
  const made = makeScorer(entry, registry, {
    folder: dirname(resolve(folder, file)),
    models,
    schemas: createSchemaChecker(),
  });
  if (!Array.isArray(made)) return made.scorer;
  const problems = made.map(({ path, problem }) =>
    [path.join("."), problem].filter(Boolean).join(": "),
  );
  throw new CliError(2, `--judge: ${file}: ${problems.join("; ")}`);
}

function print(calibration: Calibration, output: Output): void {
  const { judge, lock, labelled, agreement, corrected, unlabelled, broken, disagreements } =
    calibration;
  output.pairs([
    ["judge", judge],
    ["lock", lock ?? "none"],
    ["labelled work", String(labelled)],
    ["true positive rate", shown(agreement.truePositiveRate, "of the work that people passed")],
    ["true negative rate", shown(agreement.trueNegativeRate, "of the work that people failed")],
    ["agreement", shown(agreement.agreement, "of all")],
    ["Cohen's kappa", agreement.kappa === null ? "not defined" : agreement.kappa.toFixed(3)],
    ["without a judgement", String(broken.length)],
  ]);
  output.line("");
  if (!beatsChance(agreement))
    output.prose(
      "These labels do not show that the judge is better than chance: add more, or change the judge.",
    );
  if (unlabelled === 0) output.prose("No work without a label: no pass rate to correct.");
  else if (corrected === null) {
    output.prose(
      "The judge can't be told from chance: its pass rate says nothing about the other work.",
    );
  } else {
    const { observed, estimate, low, high } = corrected;
    output.prose(
      `Of ${unlabelled} pieces without a label it passed ${percent(observed)}; people would pass about ${percent(estimate)} (95 %: ${percent(low)} to ${percent(high)}).`,
    );
  }
  for (const { id, why } of broken.filter((_, at) => at < mostShown))
    output.prose(`no judgement of ${id}: ${why}`);
  if (disagreements.length === 0) return;
  output.line("");
  const rows = disagreements
    .filter((_, at) => at < mostShown)
    .map(({ id, person, judge: said, message }) => [id, person, said, message]);
  output.table(["WORK", "PERSON", "JUDGE", "WHY"], rows);
}

const mostShown = 20;
const percent = (share: number): string => `${(share * 100).toFixed(1)} %`;

const shown = ({ rate, of, low, high }: Rate, what: string): string =>
  rate === null
    ? `none: no judgement ${what}`
    : `${percent(rate)} ${what} (${of}; 95 %: ${percent(low)} to ${percent(high)})`;

const silent = { debug() {}, info() {}, warn() {}, error() {} };
