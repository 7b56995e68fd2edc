import { createHash } from "node:crypto";
import type { Comparison, MeasureComparison } from "../compare/compare.ts";
import { counts } from "../compare/sample.ts";
import type { TaskComparison } from "../compare/tasks.ts";
import type { EvalReport, ReportedTask } from "../contracts.ts";
import { footLines, headLines, measureHeadings, measureRow } from "./comparison-text.ts";
import { script, style } from "./page-style.ts";
import { type DrawWalk, Walks } from "./page-steps.ts";
import { taskBody } from "./page-trial.ts";
import { escaped, table } from "./page-text.ts";
import { kindOf, type TaskRow, taskRows } from "./rows.ts";
import { summaryLines } from "./text.ts";

interface PageOptions {
  comparison: Comparison | null;
  /** Draws the states that a step passed on its machine's chart; left out, they stand on a line of time alone. */
  draw?: DrawWalk | undefined;
}

/**
 * A report as one page that needs nothing beside it: no file, no network, no server. Its own style and script are allowed
 * by their hashes, and nothing else runs; what the agent said is text.
 */
export function reportPage(report: EvalReport, { comparison, draw }: PageOptions): string {
  const walks = new Walks(draw);
  const trials = report.tasks.reduce((sum, task) => sum + task.trials.length, 0);
  // Fewer characters of each where there are many, so that the page opens.
  const room = Math.round(Math.min(20_000, Math.max(1_500, 12_000_000 / Math.max(1, trials))));
  const byId = new Map(report.tasks.map((task) => [task.id, task]));
  const compared = new Map(comparison?.tasks.map((task) => [task.id, task]));
  const tasks = taskRows(report).map((row) => {
    const task = byId.get(row.id);
    return task === undefined ? "" : taskPart(task, row, compared.get(row.id), { walks, room });
  });
  const policy = `default-src 'none'; style-src '${hashOf(style)}'; script-src '${hashOf(script)}'; base-uri 'none'; form-action 'none'`;
  const title = `${report.suite}: eval ${report.id}`;
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escaped(title)}</title>
<style>${style}</style>
<body>
<a class="skip" href="#tasks">To the tasks</a>
<header>
<h1>${escaped(report.suite)}${report.mock ? ' <span class="mock">mock: every answer was made up</span>' : ""}</h1>
<p class="quiet">${escaped(report.agent)} · <code>${escaped(report.id)}</code> · <time>${escaped(report.ended_at)}</time></p>
${tiles(report)}
${summaryLines(report)
  .slice(1)
  .map((line) => `<p>${escaped(line)}</p>`)
  .join("\n")}
</header>
${comparison === null ? "" : comparisonPart(comparison)}
<main id="tasks" tabindex="-1">
<div class="filters" role="search">
<label>Find <input id="find" type="search" placeholder="task, category or reason" autocomplete="off"></label>
<label>Show <select id="show"><option value="">all tasks</option>${options(tasks.length > 0, comparison)}</select></label>
<span id="count" role="status">${report.tasks.length} tasks</span>
<button id="open" type="button">Open all shown</button>
<span class="keys quiet"><kbd>/</kbd> find <kbd>j</kbd> <kbd>k</kbd> next, previous <kbd>Enter</kbd> open</span>
</div>
<div id="list">
${tasks.join("\n")}
</div>
<p id="none" class="quiet" hidden>No task is like this.</p>
</main>
${walks.definitions()}
<script>${script}</script>
</html>
`;
}

const hashOf = (text: string) => `sha256-${createHash("sha256").update(text).digest("base64")}`;

const options = (hasTasks: boolean, comparison: Comparison | null) =>
  [
    ...(hasTasks ? ["failed", "unsteady", "passed", "uncounted"] : []),
    ...(comparison === null ? [] : ["regressed", "improved", "new"]),
  ]
    .map(
      (name) =>
        `<option value="${name}">${name === "uncounted" ? "with trials that don't count" : name}</option>`,
    )
    .join("");

function tiles(report: EvalReport): string {
  const kinds = new Map<string, number>();
  for (const task of report.tasks) kinds.set(kindOf(task), (kinds.get(kindOf(task)) ?? 0) + 1);
  const tile = (kind: string, word: string) =>
    `<li class="${kind}"><b>${kinds.get(kind) ?? 0}</b> ${word}</li>`;
  return `<ul class="tiles">${tile("passed", "always passed")}${tile("unsteady", "unsteady")}${tile("failed", "never passed")}${(kinds.get("lost") ?? 0) > 0 ? tile("lost", "not measured") : ""}</ul>`;
}

function taskPart(
  task: ReportedTask,
  row: TaskRow,
  compared: TaskComparison | undefined,
  made: { walks: Walks; room: number },
): string {
  const kind = kindOf(task);
  const changed = compared === undefined || compared.status === "unchanged" ? "" : compared.status;
  const uncounted = task.trials.some((trial) => !counts(trial)) ? " uncounted" : "";
  const before = compared?.before ?? null;
  const change =
    changed === ""
      ? ""
      : `<span class="change ${changed}">${changed}${before === null ? "" : ` from ${before.passed}/${before.trials}`}</span>`;
  return `<details class="task ${kind}" data-is="${kind} ${changed}${uncounted}">
<summary><span class="dot" aria-hidden="true"></span><span class="name">${escaped(row.id)}</span> <span class="quiet">${escaped(row.category)}</span> ${change}
<span class="numbers"><span>${escaped(row.passed)} passed</span><span>${row.score === "" ? "" : `score ${row.score}`}</span><span>${row.cost}</span><span>${row.time}</span></span>
${row.why === "" ? "" : `<span class="why">${escaped(row.why, 300)}</span>`}</summary>
${taskBody(task, made)}
</details>`;
}

function comparisonPart(comparison: Comparison): string {
  const rows = comparison.measures.map((measure: MeasureComparison) => measureRow(measure));
  return `<section aria-labelledby="compared">
<h2 id="compared">Beside the baseline</h2>
${headLines(comparison)
  .map((line) => `<p>${escaped(line)}</p>`)
  .join("\n")}
${table(
  measureHeadings.map((heading) => heading.toLowerCase()),
  rows.map((row) => row.map((cell) => escaped(cell))),
  "Measures",
)}
${footLines(comparison)
  .map((line) => `<p class="quiet">${escaped(line)}</p>`)
  .join("\n")}
</section>`;
}
