import type { InputRequiredResult } from "@modelcontextprotocol/client";
import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { cutText, wellFormed } from "../../machines/contracts/domain/text.ts";
import type { ToolQuestions } from "../../machines/contracts/ports/tool-host.ts";

/** Of what a server asks at once: questions, and characters of its state, of a key, of a message and of a schema. */
const most = { questions: 20, state: 262_144, key: 200, message: 4_096, schema: 65_536 };

/**
 * What a server asks before it goes on: no question where it only wants to be called again with its state. The SDK looks
 * at nothing but the result's type, so all the rest is read here.
 *
 * @returns a sentence's end that says what is wrong, for what can't be read and for what nobody here may answer
 */
export function readQuestions(result: InputRequiredResult): ToolQuestions | string {
  const { requestState: state, inputRequests: requests } = result as Partial<Record<string, Json>>;
  if (state !== undefined && typeof state !== "string")
    return unreadable("its state is not a text");
  if (state !== undefined && state.length > most.state) {
    return unreadable(`its state is longer than ${most.state} characters`);
  }
  if (requests !== undefined && !isJsonObject(requests)) {
    return unreadable("its requests are not an object");
  }
  const asked = Object.entries(requests ?? {});
  if (asked.length > most.questions) {
    return unreadable(`it asks more than ${most.questions} questions at once`);
  }
  const questions: ToolQuestions["questions"] = [];
  for (const [key, request] of asked) {
    const question = readQuestion(key, request);
    if (typeof question === "string") return question;
    questions.push(question);
  }
  return { state: state ?? null, questions };
}

const unreadable = (why: string): string => `asks in a way that can't be read: ${why}`;

function readQuestion(key: string, request: Json): ToolQuestions["questions"][number] | string {
  const where = `request "${cutText(key, 80)}"`;
  if (key.length > most.key) return unreadable(`the key of ${where} is too long`);
  if (!isJsonObject(request)) return unreadable(`${where} is not an object`);
  const { method, params } = request;
  if (typeof method !== "string") return unreadable(`${where} has no method`);
  const isForPerson = method === "elicitation/create";
  if (!isForPerson || (isJsonObject(params ?? null) && (params as JsonObject)["mode"] === "url")) {
    return "asks in the middle of its work for what nobody here may give";
  }
  if (params === undefined || !isJsonObject(params))
    return unreadable(`${where} has no parameters`);
  const { message, requestedSchema: schema } = params;
  if (typeof message !== "string") return unreadable(`${where} has no message`);
  if (!isForm(schema)) return unreadable(`${where} has no schema of a form`);
  if (JSON.stringify(schema).length > most.schema) {
    return unreadable(`the schema of ${where} is longer than ${most.schema} characters`);
  }
  return { key, message: cutText(message, most.message), schema: wellFormed(schema) };
}

/** Whether it says of an object which fields it has, as far as anybody here relies on it. */
function isForm(schema: Json | undefined): schema is JsonObject {
  if (schema === undefined || !isJsonObject(schema)) return false;
  const { properties = {}, required = [] } = schema;
  return (
    isJsonObject(properties) &&
    Object.values(properties).every((field) => isJsonObject(field)) &&
    Array.isArray(required) &&
    required.every((field) => typeof field === "string")
  );
}
