import type { Action } from "../../machines/contracts/domain/action.ts";
import { type Failure, fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import type { Json, JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { toolInput } from "../../machines/contracts/domain/step-input.ts";
import type { ToolAnswers, ToolQuestions } from "../../machines/contracts/ports/tool-host.ts";
import type { RuntimeOptions } from "../options.ts";
import type { RuntimePorts } from "../ports.ts";
import { keepTools } from "./agent-tools.ts";
import type { Finding } from "../../machines/contracts/domain/screening/output-rules.ts";
import { keepAttachments } from "./attachments.ts";
import { refusalOf } from "./incoming.ts";
import type { StepHandler } from "./handler.ts";
import { answersOfYes, questionAction } from "./tool-questions.ts";

/** What a tool step wants to do, as policy and people see it. */
export function toolAction(job: Job): Action {
  const input = toolInput().assert(job.input);
  return { kind: "tool", name: input.tool_name, input: (input.tool_input ?? {}) as JsonObject };
}

/** Calls one tool, with exactly the arguments that were allowed or granted, on exactly the server. */
export function toolHandler(
  { tools, artifacts }: Pick<RuntimePorts, "tools" | "artifacts">,
  { keepJournals }: Pick<RuntimeOptions, "keepJournals">,
): StepHandler {
  return async ({ job, signal, budget, permission, effect, screening }) => {
    const { name, input } = toolAction(job);
    // Connects before the intent is journalled: a server that is down leaves nothing in doubt.
    const described = await tools.describe(name, signal);
    if (!described.ok) return { kind: "failed", failure: described.failure };
    const tool = described.value;
    const { server, digest: schema } = tool;
    const within = await budget.toolCall(signal);
    if (!within.ok) return { kind: "failed", failure: within.failure };
    const permitted = await permission({ kind: "tool", name: tool.name, server, schema, input });
    if (!permitted.allowed) return permitted.result;
    if (keepJournals === true) await keepTools(effect, [tool]);
    let { action, grant } = permitted;
    let answers: ToolAnswers | undefined;
    for (let round = 0; ; round += 1) {
      const called = await effect<ToolOutput>({
        // By the name in the job, which is the same in every session whatever it is resolved to.
        name: `tool:${name}`,
        ...(round === 0 ? {} : { key: `tool:${name}/answered#${round}` }),
        input,
        repeat: tool.readOnly ? "free" : tool.safeToRepeat ? "safe" : "unsafe",
        target: { server, schema },
        action,
        ...(grant === null ? {} : { grant }),
        run: async (inner, idempotencyKey) => {
          const result = await tools.call(tool, input, inner, idempotencyKey, answers);
          if (!result.ok) return result;
          const { asks } = result.value;
          if (asks !== undefined) return ok({ server, asks: { ...asks } });
          const scope = { job, screening };
          const { content, ...kept } = await keepAttachments(artifacts, scope, result.value);
          const { value, findings, isRefused } = screening.screen(content, "/result");
          if (isRefused) return fail(refusalOf("the tool's result", findings));
          return ok({ result: value, server: result.value.server, ...kept, ...told(findings) });
        },
      });
      if (!called.ok) return called.result;
      const { asks: asked, ...output } = called.value;
      if (asked === undefined) return { kind: "done", output: { ...output, tool: name } };
      const asks = asked as unknown as ToolQuestions;
      const yes = round < mostQuestions ? answersOfYes(tool, asks) : fail(endless(name));
      if (!yes.ok) return { kind: "failed", failure: yes.failure };
      answers = yes.value;
      const said = await permission(questionAction(tool, input, asks, answers, round + 1));
      if (!said.allowed) return said.result;
      ({ action, grant } = said);
    }
  };
}

/** What is taken out here can't be found again where the step's output is screened; what is only told is told there. */
export function told(findings: readonly Finding[]): { screening_findings?: JsonObject[] } {
  const gone = findings.filter(({ action }) => action !== "reported");
  return gone.length === 0 ? {} : { screening_findings: gone as unknown as JsonObject[] };
}

/** Times that one call may ask people. */
const mostQuestions = 5;

const endless = (name: string): Failure =>
  terminal("tool_failed", `tool "${name}" asked people ${mostQuestions} times and asks again`);

type ToolOutput = {
  result?: Json;
  server: string;
  artifacts?: JsonObject[];
  screening_findings?: JsonObject[];
  /** {@link ToolQuestions}, as the journal keeps them. */
  asks?: JsonObject;
};
