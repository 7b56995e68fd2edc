import { readRunStatus, runStatuses } from "../../machines/contracts/status.ts";
import type { Command } from "../command.ts";
import { Trouble } from "../output/trouble.ts";
import { readLimit } from "./read-limit.ts";
import { dollars, paintStatus, runLine, stepLine } from "./run-lines.ts";
import { watchRun } from "./watch-run.ts";
import { withControlPlane } from "./with-control-plane.ts";

const mostInAPage = 100;

/** `runs list`. The reference has no filter by status, so it is made here, over one page. */
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
    const rows = runs.map((run) => [
      run.id,
      run.status,
      run.created_at ?? "",
      String((run.input_tokens ?? 0) + (run.output_tokens ?? 0)),
      dollars(run.cost_cents ?? 0),
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

function readStatus(text: string | true | undefined) {
  if (typeof text !== "string") return null;
  const status = readRunStatus(text);
  if (status === undefined) {
    throw new Trouble(2, `--status: expected one of ${runStatuses.join(", ")}`);
  }
  return status;
}
