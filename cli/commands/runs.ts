import { dollars, microsPerCent } from "../../machines/contracts/domain/budget.ts";
import { readRunStatus, runStatuses } from "../../machines/contracts/domain/status.ts";
import { commandLine } from "../called-as.ts";
import type { Command, Context } from "../command.ts";
import { CliError, failureText } from "../output/errors.ts";
import { type Client, readLimit, withControlPlane } from "./with-control-plane.ts";
import { watchRun } from "./watch-run.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type { RunView, StepView } from "../../machines/contracts/wire/views.ts";
import type { Output } from "../output/output.ts";
import { plain } from "../output/plain.ts";

const mostInAPage = 100;

/** `runs list`. FerrumDeck has no filter by status, so it is made here, over one page. */
export const listRuns: Command = (context) =>
  withControlPlane(context, async (client) => {
    const { api, signal, value } = client;
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
    if (runs.length === 0) {
      output.remark(
        status === null
          ? `there are no runs yet; start one: ${commandLine('submit AGENT --task "…"')}`
          : `none of the ${page.runs.length} newest runs is ${status}`,
      );
      return 0;
    }
    const nameOf = await agentNames(client, context);
    const rows = runs.map((run) => [
      run.id,
      run.status,
      nameOf(run),
      taskOf(run),
      ageOf(run.created_at),
      String(tokensOf(run)),
      costOf(run) ?? "",
    ]);
    output.table(["RUN", "STATUS", "AGENT", "TASK", "AGE", "TOKENS", "COST"], rows);
    return 0;
  });

/** `runs get`. */
export const getRun: Command = (context) =>
  withControlPlane(context, async (client) => {
    const { api, signal, value } = client;
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
    const about = { agent: (await agentNames(client, context))(run), task: taskOf(run) };
    for (const [name, text] of Object.entries(about)) {
      if (text !== "") output.line(`${name.padEnd(5)} ${plain(text)}`);
    }
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
    if (agents.length === 0) {
      output.remark("the control plane has no agents in this project");
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

/** An agent's slug by the run it has; an id where the control plane lists no such agent, or none at all. */
async function agentNames(
  { api, signal }: Client,
  { config }: Pick<Context, "config">,
): Promise<(run: RunView) => string> {
  const listed = await api.agents(config.settings.projectId, signal);
  const agents = listed.ok ? listed.value : [];
  return ({ agent_id: agentId, agent_version_id: versionId }) => {
    // FerrumDeck's runs name the agent's version alone.
    const found = agents.find(
      ({ id, latest_version: latest }) => id === agentId || latest?.id === versionId,
    );
    return found?.slug ?? agentId ?? versionId ?? "";
  };
}

const longestTask = 48;

/** What the run is to do, in one short line; empty for steps that were planned without any text. */
function taskOf({ input }: RunView): string {
  const given = isJsonObject(input) ? (input["task"] ?? input["prompt"] ?? input["query"]) : input;
  if (typeof given !== "string") return "";
  const text = plain(given).trim();
  return text.length > longestTask ? `${cutText(text, longestTask)}…` : text;
}

/** `12s`, `5m`, `3h` or `9d`; an instant that can't be read as it stands. */
function ageOf(created: string | null | undefined): string {
  const at = Date.parse(created ?? "");
  if (Number.isNaN(at)) return created ?? "";
  const seconds = Math.max(0, Math.floor((Date.now() - at) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3_600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

function readStatus(text: string | true | undefined) {
  if (typeof text !== "string") return null;
  const status = readRunStatus(text);
  if (status === undefined) {
    const meant = runStatuses.find((known) => known.startsWith(text)) ?? nearest(text, runStatuses);
    const hint = meant === null ? "" : `; did you mean ${meant}?`;
    const expected = `expected one of ${runStatuses.join(", ")}`;
    throw new CliError(2, `--status: ${expected}, not ${JSON.stringify(text)}${hint}`);
  }
  return status;
}

/** A run in one line: id, status, and what it cost or why it ended. */
export function runLine(run: RunView, { colors }: Output): string {
  const shown = costOf(run);
  const cost = shown === null || shown === "$0.00" || shown === "unknown" ? "" : ` ${shown}`;
  const output = run.status === "completed" ? shorten(run.output) : "";
  return `run   ${plain(run.id)}  ${paintStatus(run.status, colors)}${cost}${output}`;
}

/** A step in one line; of a failed one the reason. */
export function stepLine(step: StepView, { colors }: Output): string {
  const used = step.tool_name ?? step.model;
  const named = step.name ? ` "${step.name}"` : "";
  const what = plain(`${step.step_type}${used ? ` ${used}` : ""}${named}`);
  const status = stepWord(step);
  const why = whyEnded(step);
  const error = why === null ? "" : `  ${plain(why)}`;
  return `step  ${plain(step.id)}  ${paintStatus(status, colors)}  ${what}${error}`;
}

/** Why a step failed or was cut short; null of any other. */
export const whyEnded = (step: StepView): string | null =>
  ["failed", "cancelled"].includes(stepWord(step)) ? reason(step) : null;

/** The step's status for people: the wire has one word for a step that was cut short and for one that never began. */
export const stepWord = ({ status, error }: Pick<StepView, "status" | "error">): string =>
  status === "skipped" && isJsonObject(error) && error["kind"] === "cancelled"
    ? "cancelled"
    : status;

/** A step of a workflow in one line, by its name in the run. */
export const namedStepLine = (step: StepView, output: Output): string =>
  stepLine({ ...step, id: step.name ?? step.id, name: null }, output);

/** Each tool call of an agent's step in one line, with what policy said of it; none before the step has ended. */
export function callLines({ output }: Pick<StepView, "output">): string[] {
  const calls = isJsonObject(output) ? output["tool_calls"] : null;
  return (Array.isArray(calls) ? calls : []).filter(isJsonObject).map((call) => {
    const { tool_name: name, decision, success, error } = call;
    // A call that nobody was asked about, the tool neither, has no digest.
    const isUncalled = decision === "deny" && call["digest"] === null;
    const isGranted = decision === "allow" && typeof call["approval_id"] === "string";
    const verdict = isUncalled ? "not called" : isGranted ? "ask, granted" : String(decision);
    const end = success === true || isUncalled ? "" : ", failed";
    const because = success === true ? call["reason"] : (error ?? call["reason"]);
    const why = cutText(String(because).replaceAll(/\s+/gu, " "), longestReason);
    return `call  ${plain(String(name))}  ${plain(verdict)}${end}  ${plain(why)}`;
  });
}

const longestReason = 160;

const tokensOf = ({ input_tokens: input, output_tokens: output }: RunView): number =>
  (input ?? 0) + (output ?? 0);

/** What a run has cost: exactly where the control plane says it, else in its whole cents; null where it says nothing. */
function costOf(run: RunView): string | null {
  const { cost_micros: micros, cost_cents: cents } = run;
  // Tokens that cost nothing are those of a model that no price is known of.
  if (micros === 0 && tokensOf(run) > 0) return "unknown";
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
export function reason({ error, output }: Pick<StepView, "error" | "output">): string {
  for (const candidate of [error, output]) {
    if (typeof candidate === "string") return candidate;
    if (!isJsonObject(candidate)) continue;
    const { message, error: text, kind } = candidate;
    const said = typeof message === "string" ? message : text;
    if (typeof said === "string") return typeof kind === "string" ? failureText(kind, said) : said;
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
