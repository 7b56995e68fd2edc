import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { looksLikeBaseline, parseBaseline } from "../../evals/compare/baseline-file.ts";
import { type Sample, sampleOf } from "../../evals/compare/sample.ts";
import type { EvalReport } from "../../evals/contracts.ts";
import { parseReport } from "../../evals/report-file.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import type { Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { layOut } from "../output/table.ts";

/** Reads an eval's report. @throws CliError for what can't be read or used */
export async function loadReport(file: string, folder: string): Promise<EvalReport> {
  return reportIn(await textOf(file, folder), file);
}

/** Reads a baseline, or a report as one. @throws CliError likewise */
export async function loadSample(file: string, folder: string): Promise<Sample> {
  const text = await textOf(file, folder);
  if (!looksLikeBaseline(text)) return sampleOf(reportIn(text, file));
  const read = parseBaseline(text);
  if (read.ok) return read.sample;
  throw new CliError(2, `${file} is not a usable baseline: ${few(read.problems)}`);
}

function reportIn(text: string, file: string): EvalReport {
  const read = parseReport(text);
  if (!read.ok) throw new CliError(2, `${file} is not a usable report: ${few(read.problems)}`);
  const ids = read.report.tasks.map(({ id }) => id);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  if (twice === undefined) return read.report;
  throw new CliError(2, `${file} is not a usable report: the task "${twice}" stands there twice`);
}

const few = (problems: readonly string[]) =>
  problems.length <= 5
    ? problems.join("; ")
    : `${problems.slice(0, 5).join("; ")}; and ${problems.length - 5} more`;

async function textOf(file: string, folder: string): Promise<string> {
  return readFile(resolve(folder, file), "utf8").catch((error: NodeJS.ErrnoException) => {
    const why =
      error.code === "ENOENT" ? "there is no such file" : `it can't be read (${error.code})`;
    throw new CliError(2, `${file}: ${why}`);
  });
}

/** The format that was asked for; `--json` asks for it too. @throws CliError for one that is not offered */
export function formatOf<F extends string>(
  { invocation }: Pick<Context, "invocation">,
  offered: readonly (F | "json" | "text")[],
): F | "json" | "text" {
  const given = invocation.flags["format"];
  if (given === undefined) return invocation.isJson ? "json" : "text";
  const found = offered.find((format) => format === given);
  if (found !== undefined) return found;
  const meant = nearest(String(given), offered);
  const hint = meant === null ? "" : `; did you mean ${meant}?`;
  throw new CliError(2, `--format: expected ${offered.join(", ")}, not "${given}"${hint}`);
}

/** Writes an answer to the file that `--output` names, or prints it. */
export async function answer(context: Context, text: string): Promise<void> {
  const ended = text.endsWith("\n") ? text : `${text}\n`;
  const file = context.invocation.flags["output"];
  if (typeof file !== "string") context.output.text(ended);
  else {
    await writeFileAtomic(resolve(context.folder, file), ended);
    context.output.remark(`Written to ${file}.`);
  }
}

/** Draws a text for a person; `layOut` makes lines of a table's rows, the headings first. */
type Draw = (layOut: (rows: readonly (readonly string[])[]) => readonly string[]) => string;

/** As {@link answer}, for a person: what is printed is fitted to the terminal, what is filed to nothing. */
export async function answerText(context: Context, draw: Draw): Promise<void> {
  if (typeof context.invocation.flags["output"] !== "string") printText(context.output, draw);
  else
    await answer(
      context,
      draw((rows) => layOut(rows, null)),
    );
}

export const printText = (output: Output, draw: Draw): void =>
  output.prose(draw((rows) => layOut(rows, output.columns)));
