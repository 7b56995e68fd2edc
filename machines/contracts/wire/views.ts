import { type } from "arktype";
import { once } from "../domain/once.ts";
import { budgetShape } from "../domain/budget.ts";
import { isJsonObject } from "../domain/json.ts";
import { readApprovalStatus, readRunStatus, readStepStatus } from "../domain/status.ts";

/** A status field read in either spelling; anything else is an error that lists what was expected. */
const status = <S extends string>(read: (text: string) => S | undefined, what: string) =>
  type("string").pipe((text, ctx) => read(text) ?? ctx.error(`a ${what} status`));

const text = type("string | null | undefined").pipe((value) => value ?? null);
const count = type("number | null | undefined").pipe((value) => value ?? null);

/**
 * RunResponse of the control plane, with extra keys passed over. From `agent_id` on they are our own
 * control plane's; FerrumDeck's gateway leaves them out.
 */
export const runView = once(() =>
  type({
    id: "string",
    status: status(readRunStatus, "run"),
    "project_id?": text,
    "agent_version_id?": text,
    "input?": "unknown",
    "output?": "unknown",
    "input_tokens?": count,
    "output_tokens?": count,
    "tool_calls?": count,
    "cost_cents?": count,
    "created_at?": text,
    "started_at?": text,
    "completed_at?": text,
    "agent_id?": text,
    "status_reason?": text,
    "trace_id?": text,
    "error?": "unknown",
    "cost_micros?": count,
    "held_steps?": count,
    "budget?": budgetShape.onDeepUndeclaredKey("delete").or("null"),
  }),
);
export type RunView = ReturnType<typeof runView>["infer"];

/** A step's `trace`: the states that it passed, and its effects in the order in which they began. */
export const traceView = once(() =>
  type({
    states: "string[]",
    "entered?": "(string | null)[]",
    effects: type({
      name: "string",
      "what?": "string",
      begun_at: "string | null",
      completed_at: "string | null",
      "input_tokens?": "number",
      "output_tokens?": "number",
      "cost_micros?": "number | null",
    }).array(),
  }),
);
export type TraceView = ReturnType<typeof traceView>["infer"];

/** StepResponse of the control plane; `name`, `started_at`, `cost_micros` and `trace` only from our own. */
export const stepView = once(() =>
  type({
    id: "string",
    run_id: "string",
    step_type: "string",
    status: status(readStepStatus, "step"),
    "step_number?": count,
    "input?": "unknown",
    "output?": "unknown",
    "error?": "unknown",
    "tool_name?": text,
    "model?": text,
    "input_tokens?": count,
    "output_tokens?": count,
    "created_at?": text,
    "completed_at?": text,
    "name?": text,
    "started_at?": text,
    "cost_micros?": count,
    /** Of what has ended; in another shape than ours it is none. */
    "trace?": "unknown",
  }),
);
export type StepView = ReturnType<typeof stepView>["infer"];

/**
 * What alone a step's own view has, as it is written. By hand: a report's answer is looked at once a step, and to read
 * it by its shape is dear in a program that compiles no shapes.
 */
export const isWrittenStepView = (
  body: unknown,
): body is Record<"id" | "run_id" | "step_type" | "status", string> =>
  isJsonObject(body) &&
  [body["id"], body["run_id"], body["step_type"], body["status"]].every(
    (part) => typeof part === "string",
  );

/** ApprovalResponse of the control plane; `digest` only where it advertises approvals. */
export const approvalView = once(() =>
  type({
    id: "string",
    run_id: "string",
    step_id: "string",
    status: status(readApprovalStatus, "approval"),
    "action_type?": text,
    "action_details?": "unknown",
    "reason?": text,
    "digest?": text,
    // Our own control plane: of a yes to other arguments `digest` is that of the edited action.
    "asked_digest?": text,
    "edited_input?": "object | null",
    "created_at?": text,
    "expires_at?": text,
    "resolved_by?": text,
    "resolved_at?": text,
    "resolution_note?": text,
    // Our own control plane: who asked, and on a policy's terms who may answer; keys by id, and as people call them.
    "asked_by?": text,
    "asked_by_name?": text,
    "resolved_by_name?": text,
    "role?": text,
    "four_eyes?": "boolean | null",
  }),
);
export type ApprovalView = ReturnType<typeof approvalView>["infer"];
