import { compare } from "../../evals/compare/compare.ts";
import { sampleOf } from "../../evals/compare/sample.ts";
import { reportJUnit } from "../../evals/report/junit.ts";
import { reportMarkdown } from "../../evals/report/markdown.ts";
import type { DrawWalk } from "../../evals/report/page-steps.ts";
import { reportText } from "../../evals/report/text.ts";
import type { Command } from "../command.ts";
import { safeJson } from "../output/plain.ts";
import { answer, answerText, formatOf, loadReport, loadSample } from "./eval-files.ts";

const formats = ["text", "json", "markdown", "junit", "html"] as const;

/** `eval report REPORT`: a report as text, or in a format that others read. */
export const reportEval: Command = async (context) => {
  const { invocation, folder } = context;
  const format = formatOf<"markdown" | "junit" | "html">(context, formats);
  const report = await loadReport(invocation.args[0] ?? "", folder);
  const { baseline } = invocation.flags;
  const comparison =
    typeof baseline === "string"
      ? compare(await loadSample(baseline, folder), sampleOf(report))
      : null;
  if (format === "json") {
    await answer(context, safeJson({ ...report, ...(comparison !== null && { comparison }) }, 2));
  } else if (format === "markdown") await answer(context, reportMarkdown(report));
  else if (format === "junit") await answer(context, reportJUnit(report));
  else if (format === "html") {
    const { reportPage } = await import("../../evals/report/page.ts");
    await answer(context, reportPage(report, { comparison, draw: await stepDrawing() }));
  } else await answerText(context, (layOut) => reportText(report, layOut));
  return 0;
};

/** Draws the states that a step passed on the step machine's own chart, as the console does. */
export async function stepDrawing(): Promise<DrawWalk> {
  const [{ walkSvg }, { stepMachine }] = await Promise.all([
    import("../../adapters/console/chart-svg.ts"),
    import("../../machines/step/machine.ts"),
  ]);
  return (states, prefix) => walkSvg(stepMachine, states, prefix);
}
