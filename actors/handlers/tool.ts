import type { Action } from "../../machines/contracts/domain/action.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { toolInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import { keepAttachments } from "./attachments.ts";
import type { StepHandler } from "./handler.ts";

/** What a tool step wants to do, as policy and people see it. */
export function toolAction(job: Job): Action {
  const input = toolInput.assert(job.input);
  return { kind: "tool", name: input.tool_name, input: (input.tool_input ?? {}) as JsonObject };
}

/** Calls one tool, with exactly the arguments that were allowed or granted, on exactly the server. */
export function toolHandler({
  tools,
  artifacts,
}: Pick<RuntimePorts, "tools" | "artifacts">): StepHandler {
  return async ({ job, signal, budget, permission, effect }) => {
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
    const called = await effect({
      // By the name in the job, which is the same in every session whatever it is resolved to.
      name: `tool:${name}`,
      input,
      repeat: tool.readOnly ? "free" : tool.safeToRepeat ? "safe" : "unsafe",
      target: { server, schema },
      action: permitted.action,
      ...(permitted.grant === null ? {} : { grant: permitted.grant }),
      run: async (inner, idempotencyKey) => {
        const result = await tools.call(tool, input, inner, idempotencyKey);
        if (!result.ok) return result;
        const { content, ...kept } = await keepAttachments(artifacts, job, result.value);
        return { ok: true, value: { result: content, server: result.value.server, ...kept } };
      },
    });
    if (!called.ok) return called.result;
    return { kind: "done", output: { ...called.value, tool: name } };
  };
}
