import { isJsonObject } from "../../machines/contracts/json.ts";
import type { RunView, StepView } from "../../machines/contracts/views.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";

/** A run in one line: id, status, and what it cost or why it ended. */
export function runLine(run: RunView, { colors }: Output): string {
  const cost = run.cost_cents ? ` ${dollars(run.cost_cents)}` : "";
  const output = run.status === "completed" ? shorten(run.output) : "";
  return `run   ${plain(run.id)}  ${paintStatus(run.status, colors)}${cost}${output}`;
}

/** A step in one line; of a failed one the reason. */
export function stepLine(step: StepView, { colors }: Output): string {
  const name = step.tool_name ?? step.model;
  const what = plain(name ? `${step.step_type} ${name}` : step.step_type);
  const error = step.status === "failed" ? `  ${plain(reason(step))}` : "";
  return `step  ${plain(step.id)}  ${paintStatus(step.status, colors)}  ${what}${error}`;
}

/** `$0.05`. */
export function dollars(cents: number): string {
  return `$${(cents / 100).toFixed(2)}`;
}

export function paintStatus(status: string, colors: Output["colors"]): string {
  if (status === "completed" || status === "approved") return colors.green(status);
  if (status.startsWith("waiting") || status === "pending") return colors.yellow(status);
  if (status === "created" || status === "queued" || status === "running") return status;
  return colors.red(status);
}

/** Why a step failed: the message in `error`, else the one in the reference's `output`. */
export function reason({ error, output }: StepView): string {
  for (const candidate of [error, output]) {
    if (typeof candidate === "string") return candidate;
    if (!isJsonObject(candidate)) continue;
    const { message, error: text, kind } = candidate;
    const said = typeof message === "string" ? message : text;
    if (typeof said === "string") return typeof kind === "string" ? `${kind}: ${said}` : said;
  }
  return "no reason was given";
}

const longest = 160;

/** The answer, where there is one a person can read in a line. */
function shorten(output: unknown): string {
  if (output === null || output === undefined) return "";
  const response = isJsonObject(output) ? (output["response"] ?? output) : output;
  const text = plain(typeof response === "string" ? response : JSON.stringify(response));
  return `  ${text.length > longest ? `${text.slice(0, longest)}…` : text}`;
}
