import { dollars, microsPerCent } from "../../machines/contracts/domain/budget.ts";
import { readRunStatus, runStatuses } from "../../machines/contracts/domain/status.ts";
import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { readLimit, withControlPlane } from "./with-control-plane.ts";
import { watchRun } from "./watch-run.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { RunView, StepView } from "../../machines/contracts/wire/views.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";

const mostInAPage = 100;

/** `runs list`. FerrumDeck has no filter by status, so it is made here, over one page. */
export const listRuns: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { invocation, output, config } = context;
    const limit = readLimit(invocation);
    const status = readStatus(invocation.flags["status"]);
    const pageSize = status === null ? limit : mostInAPage;
    const page = await value(api.runs(config.settings.projectId, pageSize, 0, signal));
    const runs = page.runs
      .filter((run) => status === null || run.status === status)
      .slice(0, limit);
    if (output.isJson) {
      output.json({ runs, total: page.total });
      return 0;
    }
    if (runs.length === 0) output.remark("there are no such runs");
    const rows = runs.map((run) => [
      run.id,
      run.status,
      run.created_at ?? "",
      String((run.input_tokens ?? 0) + (run.output_tokens ?? 0)),
      costOf(run) ?? "",
    ]);
    output.table(["RUN", "STATUS", "CREATED", "TOKENS", "COST"], rows);
    return 0;
  });

/** `runs get`. */
export const getRun: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const id = invocation.args[0] ?? "";
    const [run, steps] = await Promise.all([
      value(api.run(id, signal)),
      value(api.steps(id, signal)),
    ]);
    if (output.isJson) {
      output.json({ run, steps });
      return 0;
    }
    output.line(runLine(run, output));
    for (const step of steps) output.line(stepLine(step, output));
    if (run.output !== null && run.output !== undefined) {
      output.line("");
      output.document(run.output);
    }
    return 0;
  });

/** `runs watch`. */
export const watchRunCommand: Command = (context) =>
  withControlPlane(context, (client) =>
    watchRun(client, context.invocation.args[0] ?? "", context.output),
  );

/** `runs cancel`. */
export const cancelRun: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, invocation } = context;
    const run = await value(api.cancel(invocation.args[0] ?? "", signal));
    if (output.isJson) output.json(run);
    else output.line(`run ${run.id} is ${paintStatus(run.status, output.colors)}`);
    return 0;
  });

/** `agents list`. */
export const listAgents: Command = (context) =>
  withControlPlane(context, async ({ api, signal, value }) => {
    const { output, config } = context;
    const agents = await value(api.agents(config.settings.projectId, signal));
    if (output.isJson) {
      output.json(agents);
      return 0;
    }
    const rows = agents.map(({ slug, id, latest_version: latest }) => [
      slug,
      id,
      latest?.version ?? "none",
      latest?.model ?? "",
      latest?.allowed_tools?.join(", ") ?? "",
    ]);
    output.table(["AGENT", "ID", "VERSION", "MODEL", "TOOLS"], rows);
    return 0;
  });

function readStatus(text: string | true | undefined) {
  if (typeof text !== "string") return null;
  const status = readRunStatus(text);
  if (status === undefined) {
    throw new CliError(
      2,
      `--status: expected one of ${runStatuses.join(", ")}, not ${JSON.stringify(text)}`,
    );
  }
  return status;
}

/** A run in one line: id, status, and what it cost or why it ended. */
export function runLine(run: RunView, { colors }: Output): string {
  const shown = costOf(run);
  const cost = shown === null || shown === "$0.00" ? "" : ` ${shown}`;
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

/** What a run has cost: exactly where the control plane says it, else in its whole cents; null where it says nothing. */
function costOf({ cost_micros: micros, cost_cents: cents }: RunView): string | null {
  if (micros !== null && micros !== undefined) return dollars(micros);
  return cents === null || cents === undefined ? null : dollars(cents * microsPerCent);
}

export function paintStatus(status: string, colors: Output["colors"]): string {
  if (status === "completed" || status === "approved") return colors.green(status);
  if (status.startsWith("waiting") || status === "pending") return colors.yellow(status);
  if (status === "created" || status === "queued" || status === "running") return status;
  return colors.red(status);
}

/** Why a step failed: the message in `error`, else the one in FerrumDeck's `output`. */
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
  return `  ${text.length > longest ? `${cutText(text, longest)}…` : text}`;
}
