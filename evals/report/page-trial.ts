import { counts } from "../compare/sample.ts";
import { measureText } from "../compare/words.ts";
import type { Observation, ObservedStep, ReportedTask, Score, Trial } from "../contracts.ts";
import { statesPart, type Walks } from "./page-steps.ts";
import { box, escaped, table } from "./page-text.ts";
import { whyFailed } from "./rows.ts";

interface Made {
  walks: Walks;
  /** How many characters of one trial's texts are shown. */
  room: number;
}

/** What is inside a task once it is opened: each trial with its scores, steps, calls and changes. */
export function taskBody(task: ReportedTask, made: Made): string {
  const { name, difficulty, tags } = task;
  const about = [name, difficulty, ...tags]
    .filter((word) => word !== "")
    .map((word) => escaped(word));
  return `<div class="body"><p class="quiet">${about.join(" · ")}</p>
${task.trials.map((trial) => trialPart(trial, task.trials.length, made)).join("\n")}</div>`;
}

function trialPart(trial: Trial, of: number, made: Made): string {
  const { epoch, status, passed, score, scores, observation, retries, cached } = trial;
  const outcome = !counts(trial)
    ? status === "broken"
      ? "broken"
      : "not judged"
    : status === "timed_out"
      ? "timed out"
      : passed
        ? "passed"
        : "failed";
  const facts = [
    score === null ? null : `score ${measureText("score", score)}`,
    ...(observation === undefined ? [] : usage(observation)),
    retries > 0 ? `made again ${retries} times, since the infrastructure failed` : null,
    cached === true ? "from the cache" : null,
    observation?.run_id === undefined ? null : `run ${observation.run_id}`,
  ].filter((fact) => fact !== null);
  const why =
    passed && counts(trial) ? "" : `<p class="reason">${escaped(whyFailed(trial), 2_000)}</p>`;
  return `<section class="trial"><h3>${of === 1 ? "The trial" : `Trial ${epoch + 1} of ${of}`} <span class="outcome ${outcome.replace(" ", "-")}">${outcome}</span></h3>
<p class="quiet">${facts.map((fact) => escaped(fact)).join(" · ")}</p>${why}
${scores.length === 0 ? "" : scoresPart(scores)}
${observation === undefined ? "" : observed(observation, made)}</section>`;
}

function usage({ duration_ms, usage: used, steps }: Observation): string[] {
  const cost = used.cost_microusd;
  return [
    measureText("duration_ms", duration_ms),
    cost === null ? "cost unknown" : measureText("cost_microusd", cost),
    `${steps?.length ?? "unknown"} steps`,
    `${used.tool_calls ?? "unknown"} tool calls`,
    `${used.input_tokens ?? "unknown"} + ${used.output_tokens ?? "unknown"} tokens`,
  ];
}

function scoresPart(scores: readonly Score[]): string {
  const rows = scores.map((score) => {
    const isSkipped = score.skipped !== undefined;
    const word = isSkipped ? "skipped" : score.passed ? "passed" : "failed";
    return [
      `${escaped(score.scorer)}${score.required ? "" : ' <small class="quiet">not required</small>'}`,
      `<span class="outcome ${word}">${word}</span>`,
      isSkipped
        ? ""
        : `<meter min="0" max="1" value="${score.score}">${score.score}</meter> ${score.score.toFixed(2)}`,
      String(score.weight),
      escaped(score.skipped ?? score.message, 1_000),
    ];
  });
  return table(["Scorer", "Outcome", "Score", "Weight", "Why"], rows, "Scores");
}

function observed(observation: Observation, { walks, room }: Made): string {
  const { steps = [], calls = [], output, diff, files } = observation;
  const parts = steps.map((step) => stepPart(step, walks, room));
  if (calls.length > 0) {
    const rows = calls.map((call) => [
      `<code>${escaped(call.tool)}</code>`,
      `<span class="outcome ${call.verdict}">${call.verdict}</span>`,
      `<span class="outcome ${call.outcome}">${call.outcome}</span>`,
      call.duration_ms === undefined ? "" : measureText("duration_ms", call.duration_ms),
      `<code>${escaped(JSON.stringify(call.arguments) ?? "", 600)}</code>`,
    ]);
    parts.push(
      `<h4>Tool calls</h4>${table(["Tool", "Verdict", "Outcome", "Took", "Arguments"], rows, "Tool calls")}`,
    );
  }
  const touched = [
    ...(files?.changed ?? []).map((path) => `changed ${path}`),
    ...(files?.created ?? []).map((path) => `created ${path}`),
    ...(files?.deleted ?? []).map((path) => `deleted ${path}`),
  ];
  if (touched.length > 0) parts.push(`<h4>Files</h4><p>${escaped(touched.join(", "), 2_000)}</p>`);
  if (diff !== undefined && diff !== "") parts.push(`<h4>Diff</h4>${diffPart(diff, room)}`);
  if (output !== null && output !== "")
    parts.push(`<h4>Output</h4>${box(output, room / 2, "Output")}`);
  return parts.join("\n");
}

function stepPart(step: ObservedStep, walks: Walks, room: number): string {
  const states = step.states.map(({ state }) => state);
  const chart = walks.chart(states);
  const error = step.error === undefined ? "" : box(step.error, room / 4, "Error");
  return `<div class="step"><h4>${escaped(step.name ?? step.id)} <small class="quiet">${escaped(step.type)}</small> <span class="outcome ${step.status === "completed" ? "passed" : "failed"}">${escaped(step.status)}</span></h4>
${statesPart(step)}${chart === "" ? "" : `<details class="chart"><summary>On the machine's chart</summary>${chart}</details>`}${error}</div>`;
}

/** A unified diff, its lines coloured by what they do; the words say it too, by their first character. */
function diffPart(diff: string, room: number): string {
  const lines = escaped(diff, room)
    .split("\n")
    .map((line) => {
      const kind = /^(?:\+\+\+|---|diff |index |@@)/.test(line)
        ? "place"
        : line.startsWith("+")
          ? "added"
          : line.startsWith("-")
            ? "removed"
            : "";
      return kind === "" ? `<span>${line}\n</span>` : `<span class="${kind}">${line}\n</span>`;
    });
  return `<pre class="diff" tabindex="0" aria-label="Diff">${lines.join("")}</pre>`;
}
