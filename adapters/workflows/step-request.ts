import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import {
  isJsonObject,
  isWrittenWithin,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import type { StepDefinition } from "../../machines/contracts/domain/workflow.ts";
import type {
  StepDecision,
  StepRequest,
  WorkflowReader,
} from "../../machines/contracts/ports/workflow-engine.ts";
import { writtenPlace } from "../../machines/contracts/domain/workflow-graph.ts";
import { workflowProblems } from "../../machines/contracts/domain/workflow-problems.ts";
import { collectExpressions } from "../../machines/contracts/domain/workflow-expressions.ts";
import { readCondition } from "./conditions.ts";
import {
  fillTemplate,
  mostWritten,
  NothingSelected,
  readExpression,
  resolveSelected,
  selectPath,
  TooLong,
} from "./expressions.ts";
import { beginStep, takeWork, TooMuchWork } from "./work.ts";

/** What a step's expressions name: what its scope must hold. */
export function namesIn(step: StepDefinition): string[] {
  const names = collectExpressions(step as unknown as JsonObject).flatMap(({ kind, text }) => {
    const read = readExpression(kind, text);
    return read.ok ? read.names.map(({ name }) => name) : [];
  });
  return [...new Set(names)];
}

/** Whether a step runs, and over what. */
export function decideStep(step: StepDefinition, scope: JsonObject): Outcome<StepDecision> {
  return selecting(step, () => decision(step, scope));
}

function decision(step: StepDefinition, scope: JsonObject): Outcome<StepDecision> {
  if (step.condition !== undefined && !holds(step.condition, scope)) return ok({ runs: false });
  if (step.type === "condition")
    return ok({ runs: true, holds: holds(step.config?.if ?? "", scope) });
  if (step.type === "workflow") {
    const { input = {}, input_from: from = {} } = step.config ?? {};
    const given = { ...input, ...(resolveSelected(from, scope) as JsonObject) };
    return ok({ runs: true, input: given });
  }
  const list = step.type === "parallel" ? step.config?.for_each : undefined;
  if (list === undefined) return ok({ runs: true });
  const items = selectPath(list, scope);
  if (Array.isArray(items)) return ok({ runs: true, items });
  const what =
    items === undefined ? "nothing" : items === null ? "null" : `a value of type ${typeof items}`;
  const message = `step "${step.id}": for_each: ${list} selects ${what}; expected a list`;
  return fail(terminal("invalid_input", message));
}

/**
 * What selects nothing fails its step: it never runs with a hole in its input. So does what selects too much: it would be
 * written many times over before anybody could refuse it.
 */
function selecting<T extends StepDecision | StepRequest>(
  { id }: StepDefinition,
  made: () => Outcome<T>,
): Outcome<T> {
  beginStep();
  try {
    const said = made();
    if (!said.ok || isWrittenWithin(said.value as unknown as Json, mostWritten)) return said;
  } catch (error) {
    if (error instanceof NothingSelected)
      return fail(terminal("invalid_input", `step "${id}": ${error.message}`));
    const what = workOf(error);
    if (what !== null)
      return fail(terminal("too_large", `step "${id}": ${what}: select less, or from less`));
    if (!(error instanceof TooLong)) throw error;
  }
  const message = `step "${id}": its input would be longer than ${mostWritten} characters: select less`;
  return fail(terminal("too_large", message));
}

/** Null for another error. A list of a hundred thousand things is more than the library can put into another. */
function workOf(error: unknown): string | null {
  if (error instanceof TooMuchWork) return error.message;
  return error instanceof RangeError ? "a path selects too much at once" : null;
}

function holds(condition: string, scope: JsonObject): boolean {
  const read = readCondition(condition);
  if (!read.ok) throw new TypeError(read.problem);
  return read.holds(scope);
}

/**
 * What a worker is asked for a step that it runs.
 *
 * @param scope what its expressions are worked out over
 * @param shown what a model's step is shown that has no task of its own
 * @param onlyArgument the name of a tool's only required argument, where it has one and it is known
 */
export function stepRequest(
  step: StepDefinition,
  scope: JsonObject,
  shown: JsonObject,
  onlyArgument: (tool: string) => string | null = () => null,
): Outcome<StepRequest> {
  return selecting(step, () => request(step, scope, shown, onlyArgument));
}

function request(
  step: StepDefinition,
  scope: JsonObject,
  shown: JsonObject,
  onlyArgument: (tool: string) => string | null,
): Outcome<StepRequest> {
  switch (step.type) {
    case "tool":
    case "approval": {
      const {
        tool_name: tool,
        requires_approval: mustAsk,
        approval_message: message,
      } = step.config ?? {};
      const isAsked = mustAsk === true || step.type === "approval";
      const text = message === undefined ? null : fillTemplate(message, scope, "N/A");
      const asks = isAsked ? { message: text } : null;
      if (tool === undefined) {
        const own = step.type === "approval" ? step.config?.message : undefined;
        return ok({
          stepType: "approval",
          input: { approval_message: text ?? own ?? step.name ?? step.id },
          asks,
        });
      }
      const toolInput = toolInputOf(step, tool, scope, onlyArgument);
      if (!toolInput.ok) return toolInput;
      const { tool_input: _, tool_input_from: _from, ...others } = step.config ?? {};
      const {
        requires_approval: _asked,
        approval_message: _message,
        ...kept
      } = others as JsonObject;
      return ok({ stepType: "tool", input: { ...kept, tool_input: toolInput.value }, asks });
    }
    case "llm": {
      const input = filled(step.config ?? {}, scope);
      const isTold = ["task", "prompt", "content", "messages"].some(
        (key) => input[key] !== undefined,
      );
      const told = isTold
        ? {}
        : { task: shownText(shown), agentic_mode: input["agentic_mode"] ?? false };
      return ok({ stepType: "llm", input: { ...input, ...told }, asks: null });
    }
    case "retrieval":
    case "sandbox":
      return ok({ stepType: step.type, input: filled(step.config ?? {}, scope), asks: null });
    default:
      throw new TypeError(`no worker runs a step of type ${step.type}`);
  }
}

function filled(config: object, scope: JsonObject): JsonObject {
  const { input_from: from, ...kept } = config as JsonObject;
  return from === undefined ? kept : { ...kept, ...(resolveSelected(from, scope) as JsonObject) };
}

function toolInputOf(
  { id, config }: Extract<StepDefinition, { type: "tool" | "approval" }>,
  tool: string,
  scope: JsonObject,
  onlyArgument: (tool: string) => string | null,
): Outcome<JsonObject> {
  const { tool_input: given = {}, tool_input_from: from } = config ?? {};
  if (from === undefined) return ok(given);
  const value = resolveSelected(from, scope);
  if (isJsonObject(value)) return ok({ ...given, ...value });
  const name = onlyArgument(tool);
  if (name !== null) return ok({ ...given, [name]: value });
  const message = `step "${id}": tool_input_from selects one value, and ${tool} has no single required argument to take it; expected an object such as {path: ${JSON.stringify(from)}}`;
  return fail(terminal("invalid_input", message));
}

/** As FerrumDeck tells its models. */
function shownText(shown: JsonObject): string {
  if (!isWrittenWithin(shown, mostWritten)) throw new TooLong("what it is shown");
  const parts = Object.entries(shown).map(([name, value]) =>
    name === "input"
      ? JSON.stringify(value)
      : `Output from ${name}:\n${JSON.stringify(value, null, 2)}`,
  );
  return parts.join("\n\n");
}

const fence = "```json";

/**
 * What later steps see of a worker's output: a model's answer as the object that it is or holds, else as `response`;
 * all else as it is.
 */
export function seenOutput({ type }: StepDefinition, output: Json): Json {
  if (type !== "llm") return output;
  const text = isJsonObject(output) ? output["response"] : output;
  if (typeof text !== "string") return output;
  const begin = text.indexOf(fence);
  const end = begin < 0 ? -1 : text.indexOf("```", begin + fence.length);
  const found = end < 0 ? text.trim() : text.slice(begin + fence.length, end);
  const read = found.trimStart().startsWith("{") ? parseJson(found) : null;
  return read?.ok && isJsonObject(read.value) ? read.value : { response: text };
}

/** Whether an output ends the loop around its step. */
export const saysDone = (output: Json): boolean => isJsonObject(output) && Boolean(output["done"]);

/**
 * What a workflow engine works definitions out by.
 *
 * @param onlyArgument see {@link stepRequest}
 */
export const createWorkflowReader = (
  onlyArgument: (tool: string) => string | null = () => null,
): WorkflowReader => ({
  problems: (definition) =>
    workflowProblems(definition, readExpression).map(({ place, problem }) => {
      const where = writtenPlace(place);
      return where === "" ? problem : `${where}: ${problem}`;
    }),
  namesIn,
  decideStep,
  stepRequest: (step, scope, shown) => stepRequest(step, scope, shown, onlyArgument),
  seenOutput,
  saysDone,
  takeWork,
});
