import type { Action } from "../../machines/contracts/domain/action.ts";
import { fail, ok, type Outcome, terminal } from "../../machines/contracts/domain/failure.ts";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import type {
  ToolAnswers,
  ToolDescription,
  ToolQuestions,
} from "../../machines/contracts/ports/tool-host.ts";

/**
 * A tool that asks a person in the middle of its work. The question becomes an approval request, and a yes to it says
 * exactly what the request shows: what the server proposes for each field, and yes where it asks for yes or no. A
 * question that a yes does not answer is refused.
 *
 * @returns what a yes would say, or why a yes says nothing
 */
export function answersOfYes(
  tool: Pick<ToolDescription, "name" | "server">,
  { state, questions }: ToolQuestions,
): Outcome<ToolAnswers> {
  // Keys and fields are foreign: set one by one, `__proto__` would be no key.
  const answers: [string, JsonObject][] = [];
  for (const { key, schema } of questions) {
    const { properties, required } = schema;
    const needed = Array.isArray(required) ? required : [];
    const answer: [string, Json][] = [];
    for (const [field, about] of Object.entries(isJsonObject(properties) ? properties : {})) {
      const { default: proposed, type } = isJsonObject(about) ? about : {};
      if (proposed !== undefined) answer.push([field, proposed]);
      else if (type === "boolean") answer.push([field, true]);
      else if (needed.includes(field)) {
        const said = `tool "${tool.name}" of MCP server "${tool.server}" asks a person for "${field}", which a yes or no can't say`;
        return fail(terminal("tool_failed", said));
      }
    }
    answers.push([key, Object.fromEntries(answer)]);
  }
  return ok({ state, answers: Object.fromEntries(answers) });
}

/** What a person is asked: everything that a yes would send. The state is the server's own, and means nothing to her. */
export function questionAction(
  tool: ToolDescription,
  input: JsonObject,
  { questions }: ToolQuestions,
  { answers }: ToolAnswers,
  round: number,
): Action {
  return {
    kind: "approval",
    name: tool.name,
    server: tool.server,
    schema: tool.digest,
    call: `question#${round}`,
    input: {
      tool_input: input,
      questions: questions.map(({ key, message }) => ({ message, answer: answers[key] ?? {} })),
    },
  };
}
