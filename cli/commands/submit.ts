import { isJsonObject, type Json, parseJson } from "../../machines/contracts/domain/json.ts";
import { budgetProblem } from "../../machines/contracts/domain/budget.ts";
import { isStepType, stepTypes } from "../../machines/contracts/domain/job.ts";
import type { PlannedStep } from "../../adapters/control-plane/api.ts";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { readDocument } from "./read-document.ts";
import { watchRun } from "./watch-run.ts";
import { type Client, withControlPlane } from "./with-control-plane.ts";
import { commandLine } from "../called-as.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";

/** `submit AGENT`: starts a run, and follows it where asked to. */
export const submit: Command = async (context) => {
  const { invocation, output } = context;
  const agentId = invocation.args[0] ?? "";
  const steps = await readSteps(context);
  const input = await readInput(context, steps !== null);
  refuseUnknownLimits(input, "the input's budget");
  for (const [at, step] of (steps ?? []).entries()) {
    refuseUnknownLimits(step.input, `step ${at + 1}: budget`);
  }
  return withControlPlane(context, async (client) => {
    const { api, signal, value } = client;
    if (steps !== null) await requireSteps(client);
    const planned = steps === null ? {} : { steps };
    const created = await api.createRun({ agentId, input, ...planned }, signal);
    if (!created.ok && created.failure.kind === "not_found") {
      throw await unknownAgent(agentId, client, context);
    }
    const run = await value(Promise.resolve(created));
    const isWatched = invocation.flags["watch"] === true;
    if (isWatched) return watchRun(client, run.id, output);
    if (output.isJson) output.json(run);
    else output.line(run.id);
    output.remark(`follow it: ${commandLine(`runs watch ${run.id}`)}`);
    return 0;
  });
};

/** FerrumDeck's gateway passes over what it does not know, and the run would have no limit. */
function refuseUnknownLimits(input: Json, name: string): void {
  const problem = isJsonObject(input) ? budgetProblem(input["budget"], name) : null;
  if (problem !== null) throw new CliError(2, `submit: ${problem}`);
}

/** What was probably meant, where the control plane lists its agents. */
export async function unknownAgent(
  slug: string,
  { api, signal }: Client,
  { config }: Context,
): Promise<CliError> {
  const agents = await api.agents(config.settings.projectId, signal);
  const slugs = agents.ok ? agents.value.map((agent) => agent.slug) : [];
  const meant = nearest(slug, slugs);
  const hint = meant === null ? `see: ${commandLine("agents list")}` : `did you mean ${meant}?`;
  return new CliError(2, `there is no agent named ${slug}; ${hint}`);
}

async function readInput({ invocation, folder }: Context, hasSteps: boolean): Promise<Json> {
  const { task, input, file } = invocation.flags;
  const given = [task, input, file].filter((flag) => flag !== undefined);
  if (given.length === 0 && hasSteps) return {};
  if (given.length !== 1) {
    const names = Object.entries({ task, input, file }).filter(([, value]) => value !== undefined);
    const were = names.map(([name]) => `--${name}`).join(" and ");
    const both = given.length === 0 ? "" : `, not ${were} together`;
    throw new CliError(
      2,
      `submit: expected one of --task TEXT, --input JSON, --file FILE or --steps FILE${both}`,
    );
  }
  if (typeof task === "string") return { task };
  if (typeof file === "string") return readDocument(file, folder, "file");
  const read = parseJson(String(input));
  if (read.ok) return read.value;
  if (read.reason !== "syntax") throw new CliError(2, `--input ${read.problem}`);
  const example = `'{"task": "say hello"}'`;
  throw new CliError(2, `--input: expected JSON, such as ${example} (${read.place})`);
}

async function readSteps({ invocation, folder }: Context): Promise<PlannedStep[] | null> {
  const { steps: file } = invocation.flags;
  if (typeof file !== "string") return null;
  const steps = await readDocument(file, folder, "steps");
  if (!Array.isArray(steps)) throw new CliError(2, `--steps: ${file}: expected a list of steps`);
  return steps.map((step, at) => {
    const { type, input = {}, name, on_error: onError, ...others } = isJsonObject(step) ? step : {};
    if (typeof type !== "string" || !isStepType(type) || !isJsonObject(input)) {
      const expected = `{type: ${stepTypes.join("|")}, input: {…}}`;
      throw new CliError(2, `--steps: ${file}: step ${at + 1}: expected ${expected}`);
    }
    const [unknown] = Object.keys(others);
    if (unknown !== undefined) {
      const expected = "type, input, name or on_error";
      throw new CliError(2, `--steps: ${file}: step ${at + 1}: ${unknown}: expected ${expected}`);
    }
    if (onError !== undefined && onError !== "continue" && onError !== "fail") {
      throw new CliError(
        2,
        `--steps: ${file}: step ${at + 1}: on_error: expected continue or fail`,
      );
    }
    return {
      type,
      input,
      ...(typeof name === "string" ? { name } : {}),
      ...(onError === "continue" ? { on_error: onError } : {}),
    };
  });
}

/** FerrumDeck would take the run and pass over its steps. */
async function requireSteps({ api, signal, value }: Client): Promise<void> {
  const { extensions = [] } = await value(api.health(signal));
  if (extensions.includes("steps")) return;
  throw new CliError(2, `--steps: the control plane at ${api.http.url} plans its steps itself`);
}
