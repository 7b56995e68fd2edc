import { readdir, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { writeBaseline } from "../../evals/compare/baseline-file.ts";
import { compare, type Comparison } from "../../evals/compare/compare.ts";
import { judge, refusedLocks, regressions } from "../../evals/compare/gate.ts";
import { type Sample, sampleOf } from "../../evals/compare/sample.ts";
import {
  footLines,
  gateLines,
  headLines,
  measureHeadings,
  measureRow,
} from "../../evals/report/comparison-text.ts";
import { gateMarkdown } from "../../evals/report/markdown.ts";
import { gateJUnit } from "../../evals/report/junit.ts";
import { commandLine } from "../called-as.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { safeJson } from "../output/plain.ts";
import { answer, answerText, formatOf, loadReport, loadSample, printText } from "./eval-files.ts";

/** `eval compare BEFORE AFTER`: what changed, and how far chance explains it; 1 if it got worse. */
export const compareEvals: Command = async (context) => {
  const { invocation, folder } = context;
  const format = formatOf<"markdown">(context, ["text", "json", "markdown"]);
  const [first = "", second = ""] = invocation.args;
  const before = await loadSample(first, folder);
  const after = await loadSample(second, folder);
  const comparison = compare(before, after);
  refuse(comparison, allowedLocks(context, comparison));
  const worse = regressions(comparison, after.gates);
  const reasons = worse.map(({ message }) => message);
  if (format === "json") {
    await answer(
      context,
      safeJson(
        { ...comparison, ...listed(comparison), has_regression: worse.length > 0, reasons },
        2,
      ),
    );
  } else if (format === "markdown") {
    await answer(context, gateMarkdown(comparison, null, reasons));
  } else {
    const verdict =
      reasons.length === 0 ? ["Nothing got worse that chance does not explain."] : reasons;
    await answerText(context, (layOut) =>
      [...comparisonLines(comparison, layOut), "", ...verdict].join("\n"),
    );
  }
  return worse.length > 0 && invocation.flags["report-only"] !== true ? 1 : 0;
};

/** FerrumDeck's names for the tasks that changed. */
function listed({ tasks }: Comparison) {
  const of = (status: string) => tasks.filter((task) => task.status === status).map(({ id }) => id);
  return { task_regressions: of("regressed"), task_improvements: of("improved") };
}

/** `eval gate [REPORT]`: holds a report to its suite's baseline; 1 if it must not pass. */
export const gateEval: Command = async (context) => {
  const { invocation, folder } = context;
  const format = formatOf<"markdown" | "junit">(context, ["text", "json", "markdown", "junit"]);
  const file = invocation.args[0] ?? (await newestReport(folder));
  const report = await loadReport(file, folder);
  const after = sampleOf(report);
  const baseline = baselineOf(context, after);
  if (invocation.flags["update-baseline"] === true) return update(context, after, baseline);
  const before = await loadSample(baseline, folder).catch((error: unknown) => {
    if (!(error instanceof CliError) || !error.message.endsWith("there is no such file"))
      throw error;
    throw new CliError(
      2,
      `there is no baseline ${baseline}; make this report one with --update-baseline, and commit it`,
    );
  });
  const comparison = compare(before, after);
  const allowed = allowedLocks(context, comparison);
  refuse(comparison, allowed);
  const result = judge(comparison, [before, after], allowed);
  if (format === "json") await answer(context, safeJson({ ...result, comparison }, 2));
  else if (format === "markdown") await answer(context, gateMarkdown(comparison, result));
  else if (format === "junit") await answer(context, gateJUnit(report, comparison, result));
  else
    await answerText(context, (layOut) =>
      [...comparisonLines(comparison, layOut), "", ...gateLines(result)].join("\n"),
    );
  return result.passed ? 0 : 1;
};

function comparisonLines(
  comparison: Comparison,
  layOut: (rows: string[][]) => readonly string[],
): string[] {
  const rows = comparison.measures.map(measureRow);
  const table = rows.length === 0 ? [] : layOut([measureHeadings, ...rows]);
  return [
    ...headLines(comparison),
    "",
    ...table,
    ...(rows.length === 0 ? [] : [""]),
    ...footLines(comparison),
  ];
}

/** Makes the report the baseline: only what could be a gate's own measure may be one. */
async function update({ output, folder }: Context, after: Sample, file: string): Promise<number> {
  const refused = judge(compare(after, after), [after, after]).failures.filter(
    ({ kind }) => kind !== "pass_rate_threshold" && kind !== "category_threshold",
  );
  if (refused.length > 0) {
    for (const { message } of refused) output.prose(`REFUSED: ${message}`);
    output.line("The baseline is left as it was.");
    return 1;
  }
  const before = await loadSample(file, folder).catch(() => null);
  await writeBaseline(resolve(folder, file), after);
  if (output.isJson) {
    output.json({ baseline: file, comparison: before === null ? null : compare(before, after) });
    return 0;
  }
  if (before !== null)
    printText(output, (layOut) =>
      [...comparisonLines(compare(before, after), layOut), ""].join("\n"),
    );
  output.prose(
    `${before === null ? "Written" : "Replaced"}: ${file}, ${after.tasks.length} tasks. Commit it for the gate to hold to it.`,
  );
  return 0;
}

/** @throws CliError where locks differ that may not */
function refuse(comparison: Comparison, allowed: ReadonlySet<string>): void {
  const refused = refusedLocks(comparison, allowed);
  if (refused.length === 0) return;
  const which = refused.map(
    ({ name, before, after }) => `${name} (${short(before)} before, ${short(after)} now)`,
  );
  const flag = refused.map(({ name }) => name).join(",");
  throw new CliError(
    2,
    `these can't be compared, since they were not made alike: ${which.join("; ")} differ. Update the baseline, or compare all the same with --allow ${flag}`,
  );
}

const short = (digest: string | null) =>
  digest === null ? "none" : digest.replace(/^sha256:/, "").slice(0, 12);

function allowedLocks({ invocation }: Context, { locks }: Comparison): Set<string> {
  const given = String(invocation.flags["allow"] ?? "");
  const all = given
    .split(",")
    .map((name) => name.trim())
    .filter((name) => name !== "");
  const unknown = all.filter(
    (name) => !["dataset", "suite", ...locks.map((lock) => lock.name)].includes(name),
  );
  if (unknown.length === 0) return new Set(all);
  throw new CliError(
    2,
    `--allow: no lock "${unknown[0]}" differs; expected some of ${locks.map(({ name }) => name).join(", ") || "none"}`,
  );
}

function baselineOf({ invocation }: Context, { suite }: Sample): string {
  const given = invocation.flags["baseline"];
  if (typeof given === "string") return given;
  if (/^\w[\w.-]*$/u.test(suite)) return join("evals", "baselines", `${suite}.jsonl`);
  throw new CliError(
    2,
    `the suite's name "${suite}" can't be a file's; name the baseline with --baseline FILE`,
  );
}

async function newestReport(folder: string): Promise<string> {
  const reports = join("evals", "reports");
  const found = await readdir(resolve(folder, reports)).catch(() => []);
  const dated = await Promise.all(
    found
      .filter((name) => name.endsWith(".json"))
      .map(async (name) => ({ name, at: (await stat(resolve(folder, reports, name))).mtimeMs })),
  );
  const [newest] = dated.sort((one, other) => other.at - one.at);
  if (newest !== undefined) return join(reports, newest.name);
  throw new CliError(
    2,
    `there is no report in ${reports}; run a suite first (${commandLine("eval run")}), or name a report`,
  );
}
