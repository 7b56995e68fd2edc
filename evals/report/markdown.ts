import { cutText } from "../../machines/contracts/domain/text.ts";
import type { Comparison } from "../compare/compare.ts";
import type { GateResult } from "../compare/gate.ts";
import { sampleOf } from "../compare/sample.ts";
import { summaryOf } from "../compare/summary.ts";
import { share } from "../compare/words.ts";
import type { EvalReport } from "../contracts.ts";
import { footLines, headLines, measureRow } from "./comparison-text.ts";
import { taskRows } from "./rows.ts";

/** GitHub refuses comments of more than 65,536 characters. */
const longest = 60_000;
const mostRows = 100;

/** Foreign text in Markdown: nothing in it is markup, a mention or a link. */
export function escaped(text: string): string {
  return text
    .replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, " ")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(/[\\`*_{}[\]()#!|~>]/g, "\\$&")
    .replaceAll("@", "@\u200b")
    .replaceAll(/:\/\//g, ":\u200b//");
}

const table = (headings: readonly string[], rows: readonly (readonly string[])[]) => [
  `| ${headings.join(" | ")} |`,
  `| ${headings.map(() => "---").join(" | ")} |`,
  ...rows.map((row) => `| ${row.map(escaped).join(" | ")} |`),
];

/** Cuts between lines, and says that it did. */
function bounded(lines: readonly string[]): string {
  const whole = lines.join("\n");
  if (whole.length <= longest) return `${whole}\n`;
  const cut = cutText(whole, longest);
  return `${cut.slice(0, cut.lastIndexOf("\n"))}\n\n_The rest is left out; the JSON report has it._\n`;
}

/** A gate's verdict, or a comparison where there is none, for a comment on a pull request. */
export function gateMarkdown(
  comparison: Comparison,
  result: GateResult | null,
  reasons: readonly string[] = [],
): string {
  const { suite, mock } = comparison.after;
  const title =
    result === null
      ? "Eval compared"
      : result.passed
        ? "✅ Eval gate passed"
        : "❌ Eval gate failed";
  const failures = result === null ? reasons : result.failures.map(({ message }) => message);
  const warnings = result?.warnings ?? [];
  return bounded([
    `### ${title}: ${escaped(suite)}${mock ? " (MOCK)" : ""}`,
    "",
    ...failures.map((message) => `- **${escaped(message)}**`),
    ...warnings.map(({ message }) => `- ${escaped(message)}`),
    "",
    ...table(
      ["Measure", "Before", "After", "Change \\[95 %\\]", "By chance", "Verdict"],
      comparison.measures.map(measureRow),
    ),
    "",
    ...[...headLines(comparison), ...footLines(comparison)].map((line) => `${escaped(line)}  `),
  ]);
}

/** A report alone, likewise. */
export function reportMarkdown(report: EvalReport): string {
  const { pass_rate, interval, trials, uncounted } = summaryOf(sampleOf(report));
  const rows = taskRows(report);
  const said =
    pass_rate === null || interval === null
      ? "Nothing was measured."
      : `${share(pass_rate)} passed (95 %: ${share(interval.low)} to ${share(interval.high)}); ${rows.length} tasks, ${trials} trials, ${uncounted} that count for nothing.`;
  const more = rows.length - mostRows;
  return bounded([
    `### Eval: ${escaped(report.suite)}${report.mock ? " (MOCK: the answers were made up)" : ""}`,
    "",
    said,
    "",
    ...table(
      ["Task", "Category", "Passed", "Score", "Cost", "Why not"],
      rows
        .slice(0, mostRows)
        .map((row) => [
          row.id,
          row.category,
          row.passed,
          row.score,
          row.cost,
          cutText(row.why, 160),
        ]),
    ),
    ...(more > 0 ? ["", `_${more} more tasks are in the JSON report._`] : []),
  ]);
}
