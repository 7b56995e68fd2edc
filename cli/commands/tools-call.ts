import { randomUUID } from "node:crypto";
import { type Action, stricter } from "../../machines/contracts/domain/action.ts";
import type { Failure } from "../../machines/contracts/domain/failure.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { isHeldBack } from "../../machines/contracts/domain/tool-lists.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { ToolQuestions } from "../../machines/contracts/ports/tool-host.ts";
import { localVerdict, usersVerdict } from "../../actors/step/verdicts.ts";
import type { Command, Context } from "../command.ts";
import { confirm } from "../output/confirm.ts";
import { CliError } from "../output/errors.ts";
import type { Output } from "../output/output.ts";
import { visible } from "../output/plain.ts";
import { secrets } from "../secrets.ts";
import { readInput } from "./read-document.ts";
import { findShown } from "./tools.ts";
import { withTools } from "./with-tools.ts";

/** `tools call TOOL`: what a step would be allowed to do, done for a person. */
export const callTool: Command = async (context) => {
  const { config, invocation, output, stopping } = context;
  const name = invocation.args[0] ?? "";
  const input = await readInput(context);
  return withTools(
    context,
    undefined,
    async ({ host, look, tools }) => {
      const described = await host.describe(name, stopping.signal);
      if (!described.ok && described.failure.kind === "not_found") findShown(await look(), name);
      if (!described.ok) throw callError(described.failure);
      const { server, name: bare } = described.value;
      const worker = localVerdict({ server, name: bare, input }, tools.allowlist, null);
      const isDenied = isHeldBack(tools.allowlist.denied, { server, name: bare, input });
      const allowedBy = isDenied
        ? `a denial goes before what is allowed: take it off the denied tools of the allowlist in ${tools.listedIn.file}`
        : `"${server}/${bare}" under "${tools.listedIn.key}" of the allowlist in ${tools.listedIn.file} would allow it`;
      if (worker.kind === "deny") throw new CliError(2, `${worker.reason}; ${allowedBy}`);
      const action: Action = { kind: "tool", name: bare, server, input };
      const said = usersVerdict(config.settings.policy ?? undefined, action, jobOf(action));
      const verdict = said === null ? worker : stricter(worker, said);
      if (verdict.kind === "deny") throw new CliError(2, verdict.reason);
      if (verdict.kind === "ask") await ask(context, `${server}/${bare}`, input);
      const called = await host.call(described.value, input, stopping.signal, randomUUID());
      if (!called.ok) throw callError(called.failure);
      const { content, asks } = called.value;
      if (asks !== undefined) return tellQuestions(output, { server, tool: bare }, asks);
      if (output.isJson) output.json({ server, tool: bare, content });
      else if (typeof content === "string") output.text(`${content}\n`);
      else output.document(content);
      return 0;
    },
    true,
  );
};

/** A tool that asks a person before it goes on has not done its work: 4, so that no script takes it for done. */
function tellQuestions(
  output: Output,
  about: { server: string; tool: string },
  { questions }: ToolQuestions,
): number {
  const asked = questions.map(({ message, schema }) => ({ message, schema }));
  if (output.isJson) {
    output.json({ ...about, content: null, asks: asked });
    return 4;
  }
  const said = asked.map(({ message }) => secrets.redact(visible(message))).join(" ");
  throw new CliError(
    4,
    `${about.server}/${about.tool} asks before it goes on, and has not given a result: ${said} (in a step this becomes a request for approval)`,
  );
}

/** The step that would make the call, as a policy sees it. */
const jobOf = ({ name, input }: Action): Job => ({
  runId: "tools-call",
  stepId: "tools-call",
  stepType: "tool",
  input: { tool_name: name, tool_input: input },
  tenantId: null,
  projectId: null,
  agentId: null,
  traceId: null,
  spanId: null,
  createdAt: Date.now(),
});

async function ask(
  { invocation, output }: Pick<Context, "invocation" | "output">,
  label: string,
  input: JsonObject,
): Promise<void> {
  if (invocation.flags["yes"] === true) return;
  if (!process.stdin.isTTY) {
    throw new CliError(
      2,
      `${label} needs approval, and there is no terminal to ask on: expected --yes`,
    );
  }
  output.document(input);
  if (!(await confirm(`Call ${label} with exactly this?`))) {
    throw new CliError(1, `${label} was not called`);
  }
}

/** 1: the tool failed, or may have. 2: the call can't be made so. 3: the server can't be reached, or is quarantined. */
function callError({ kind, message, retryable }: Failure): CliError {
  const hasRun = kind === "tool_failed" || kind === "invalid_output" || kind === "in_doubt";
  const isAway = retryable || kind === "unavailable" || kind === "unauthorized";
  return new CliError(hasRun ? 1 : isAway ? 3 : 2, secrets.redact(message));
}
