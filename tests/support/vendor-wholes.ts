import { isJsonObject, type Json, type JsonObject } from "../../machines/contracts/domain/json.ts";
import { chatStream, messageStream, responseStream, type Spoken } from "./vendor-streams.ts";

/** The same answers in one piece, as servers give them that do not stream: put together from the streams' own events. */

const eventsOf = (stream: string): JsonObject[] =>
  stream
    .split("\n")
    .filter((line) => line.startsWith("data: {"))
    .map((line) => JSON.parse(line.slice("data: ".length)) as JsonObject);

const object = (value: Json | undefined): JsonObject => (isJsonObject(value) ? value : {});

function wholeChat(spoken: Spoken): JsonObject {
  const { calls = [], text = [], finish = "stop" } = spoken;
  const last = eventsOf(chatStream(spoken)).at(-1) ?? {};
  const tool_calls = calls.map(({ id, name, pieces }) => ({
    id,
    type: "function",
    function: { name, arguments: pieces.join("") },
  }));
  const message = {
    role: "assistant",
    content: text.join(""),
    ...(calls.length === 0 ? {} : { tool_calls }),
  };
  return {
    ...last,
    object: "chat.completion",
    choices: [{ index: 0, message, finish_reason: finish }],
  };
}

function wholeMessage(spoken: Spoken): JsonObject {
  const { calls = [], text = [] } = spoken;
  const events = eventsOf(messageStream(spoken));
  const message = object(events[0]?.["message"]);
  const end = events.find(({ type }) => type === "message_delta") ?? {};
  return {
    ...message,
    content: [
      ...(text.length === 0 ? [] : [{ type: "text", text: text.join("") }]),
      ...calls.map(({ id, name, pieces }) => ({
        type: "tool_use",
        id,
        name,
        input: JSON.parse(pieces.join("")) as Json,
      })),
    ],
    ...object(end["delta"]),
    usage: { ...object(message["usage"]), ...object(end["usage"]) },
  };
}

const wholeResponse = (spoken: Spoken): JsonObject =>
  object(eventsOf(responseStream(spoken)).at(-1)?.["response"]);

/** By the name of the provider in the tests. */
export const wholes = {
  anthropic: wholeMessage,
  openai: wholeChat,
  responses: wholeResponse,
} as const;
