import type { Action } from "../../machines/contracts/domain/action.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Job } from "../../machines/contracts/domain/job.ts";
import { toolInput } from "../../machines/contracts/domain/step-input.ts";
import type { RuntimePorts } from "../ports.ts";
import type { StepHandler } from "./handler.ts";

/** What a tool step wants to do, as policy and people see it. */
export function toolAction(job: Job): Action {
  const input = toolInput.assert(job.input);
  return { kind: "tool", name: input.tool_name, input: (input.tool_input ?? {}) as JsonObject };
}

/** Calls one tool, with exactly the arguments that were allowed or granted. */
export function toolHandler({ tools }: Pick<RuntimePorts, "tools">): StepHandler {
  return async ({ job, signal, permission, effect }) => {
    const action = toolAction(job);
    const permitted = permission(action);
    if (!permitted.allowed) return permitted.result;
    // Connects before the intent is journalled: a server that is down leaves nothing in doubt.
    const described = await tools.describe(action.name, signal);
    if (!described.ok) return { kind: "failed", failure: described.failure };
    const tool = described.value;
    const called = await effect({
      name: `tool:${action.name}`,
      input: action.input,
      repeat: tool.readOnly ? "free" : tool.safeToRepeat ? "safe" : "unsafe",
      ...(permitted.grant === null ? {} : { grant: permitted.grant }),
      run: async (inner, idempotencyKey) => {
        const result = await tools.call(tool, action.input, inner, idempotencyKey);
        if (!result.ok) return result;
        return { ok: true, value: { result: result.value.content, server: result.value.server } };
      },
    });
    if (!called.ok) return called.result;
    return { kind: "done", output: { ...called.value, tool: action.name } };
  };
}
