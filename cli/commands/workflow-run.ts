import { registerWorkflow, startWorkflowRun } from "../../adapters/control-plane/workflows-api.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type JsonObject, parseJson } from "../../machines/contracts/domain/json.ts";
import { commandLine } from "../called-as.ts";
import type { Command, Context } from "../command.ts";
import { type Dev, startDev } from "../compose/start-dev.ts";
import { readDevNote, removeDevNote, writeDevNote } from "../dev-note.ts";
import { releaseOnFall, watchLoop } from "../nets.ts";
import { confirm } from "../output/confirm.ts";
import { CliError } from "../output/errors.ts";
import { plain } from "../output/plain.ts";
import { showApproval } from "./approvals.ts";
import { openLog } from "./long-running.ts";
import { unknownAgent } from "./submit.ts";
import { watchRun } from "./watch-run.ts";
import { type Client, withControlPlane } from "./with-control-plane.ts";
import { readDefinition } from "./workflow.ts";

/**
 * `workflow run FILE`: by the control plane that is configured or runs in this folder; where there is none, by one of
 * its own, which lives as long as the run is watched.
 */
export const runWorkflow: Command = async (context) => {
  const { invocation, output, config } = context;
  const { agent, model, watch } = invocation.flags;
  const input = readInput(context);
  const definition = await readDefinition(context);
  if (definition === null) return 2;
  return withPlane(context, async (client, isOwn) => {
    const { api, signal, value } = client;
    const { extensions = [] } = await value(api.health(signal));
    if (!extensions.includes("workflows"))
      throw new CliError(2, `the control plane at ${api.http.url} runs no workflows`);
    const { projectId } = config.settings;
    const workflow = await value(registerWorkflow(api, { definition, projectId }, signal));
    const asked = {
      workflowId: workflow.id,
      input,
      ...(typeof agent === "string" ? { agentId: agent } : {}),
      ...(typeof model === "string" ? { config: { model } } : {}),
    };
    const started = await startWorkflowRun(api, asked, signal);
    if (!started.ok && !started.failure.retryable) {
      const problem = await agentProblem(agent, started.failure, client, context);
      if (problem !== null) throw problem;
    }
    const run = await value(Promise.resolve(started));
    if (isOwn || watch === true) return follow(context, client, run.id, isOwn);
    if (output.isJson) output.json(run);
    else output.line(run.id);
    output.remark(`follow it: ${commandLine(`workflow watch ${run.id}`)}`);
    return 0;
  });
};

/** What is wrong with `--agent`, where that is what the control plane refuses; null where it is something else. */
async function agentProblem(
  agent: string | true | undefined,
  { kind }: Failure,
  client: Client,
  context: Context,
): Promise<CliError | null> {
  // The workflow was registered just now: what was not found is the agent.
  if (typeof agent === "string")
    return kind === "not_found" ? unknownAgent(agent, client, context) : null;
  const listed = await client.api.agents(context.config.settings.projectId, client.signal);
  const slugs = listed.ok ? listed.value.map(({ slug }) => slug) : [];
  if (slugs.length < 2) return null;
  const shown = slugs.slice(0, 5).map(plain).join(", ");
  const more = slugs.length > 5 ? `, … (see: ${commandLine("agents list")})` : "";
  const expected = "expected the agent whose tools and budget the run has";
  return new CliError(2, `--agent: ${expected}, one of ${shown}${more}`);
}

/** `workflow watch RUN`; where no control plane runs, one is started, and the run goes on. */
export const watchWorkflow: Command = (context) =>
  withPlane(context, (client, isOwn) =>
    follow(context, client, context.invocation.args[0] ?? "", isOwn),
  );

function readInput({ invocation }: Pick<Context, "invocation">): JsonObject {
  const { input } = invocation.flags;
  if (typeof input !== "string") return {};
  const read = parseJson(input);
  if (read.ok && isJsonObject(read.value)) return read.value;
  const why = read.ok ? "not an object" : read.reason === "syntax" ? read.place : read.problem;
  throw new CliError(2, `--input: expected a JSON object, such as '{"task": "mend it"}' (${why})`);
}

async function withPlane(
  context: Context,
  work: (client: Client, isOwn: boolean) => Promise<number>,
): Promise<number> {
  const { config, env, output } = context;
  const { dataDir, controlPlaneUrl, leaseMs } = config.settings;
  const isRunning = controlPlaneUrl !== null || (await readDevNote(dataDir)) !== null;
  if (isRunning) return withControlPlane(context, (client) => work(client, false));
  const running = await startDev(config, { env, log: openLog(context, "warn") });
  const watch = watchLoop(leaseMs);
  watch.begin();
  const keep = releaseOnFall(async () => {
    await running.runtime.stop();
    await running.close();
  });
  try {
    const { url, apiKey, store } = running;
    await writeDevNote(dataDir, { url, apiKey, store: store.kind });
    if (running.isScripted)
      output.remark("no model's key is set: every answer of a model is made up");
    return await Promise.race([
      withControlPlane(context, (client) => work(client, true)),
      fault(running),
    ]);
  } finally {
    await running.close();
    await removeDevNote(dataDir);
    keep();
    watch.end();
  }
}

/** Never ends well: a worker that gives up by itself ends the command. */
async function fault({ runtime }: Dev): Promise<never> {
  const { fault: why } = await runtime.ended;
  if (why === null) return new Promise(() => {});
  throw new CliError(3, `the worker gave up: ${why}`);
}

/** Tells of the run until it ends; asks on the terminal what it waits for, where there is one. */
function follow(
  { output }: Context,
  client: Client,
  runId: string,
  isOwn: boolean,
): Promise<number> {
  const isAsking = process.stdin.isTTY === true && !output.isJson;
  const asked = new Set<string>();
  const onWaiting = async (): Promise<void> => {
    const { api, signal, value } = client;
    for (const approval of await value(api.approvals(100, signal))) {
      if (approval.run_id !== runId || asked.has(approval.id)) continue;
      asked.add(approval.id);
      if (output.isJson) output.json({ kind: "approval", approval });
      else showApproval(approval, output);
      if (!isAsking) {
        output.remark(`to answer: ${commandLine(`approvals approve ${approval.id}`)}`);
        continue;
      }
      const isYes = await confirm("Allow exactly this, once?");
      await value(api.resolveApproval(approval.id, isYes, null, signal));
    }
  };
  const again = commandLine(`workflow watch ${runId}`);
  return watchRun(client, runId, output, { again, isOwn, isByName: true, onWaiting });
}
