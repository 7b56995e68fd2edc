import { setImmediate } from "node:timers/promises";
import type { JSONRPCMessage } from "@modelcontextprotocol/client";
import { createParser } from "eventsource-parser";
import {
  isJsonObject,
  type Json,
  jsonDepth,
  type JsonObject,
  maxJsonDepth,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import { lostNumbers } from "../../machines/contracts/domain/json-text.ts";
import { patientFetch } from "./patient-fetch.ts";
import { floods, type Traffic } from "./unasked.ts";

/** Bytes of one JSON answer, or of one server-sent event: as much as we read of a line over standard streams. */
export const largestMessage = 10 * 1024 * 1024;

/**
 * A `fetch` for the SDK's HTTP transport, which reads what it is sent whole. Here an answer that is too long is cut
 * off while it is read, redirects are not followed, and an answer that cannot be read exactly is replaced by an error
 * for the same request: a number that a double can't hold must not reach a step rounded.
 *
 * @param traffic of the connection that this is for, over all its streams
 */
export const boundedFetch =
  (traffic: Traffic): typeof fetch =>
  async (input, init) => {
    const response = await patientFetch(input, { ...init, redirect: "manual" });
    const { body, headers, status, statusText } = response;
    if (body === null) return response;
    const type = headers.get("content-type") ?? "";
    if (type.startsWith("text/event-stream")) {
      const events = body
        .pipeThrough(boundedEvents())
        .pipeThrough(new TextDecoderStream() as TransformStream<Uint8Array, string>)
        .pipeThrough(exactEvents(traffic))
        .pipeThrough(new TextEncoderStream() as TransformStream<string, Uint8Array>);
      return new Response(events, { headers: decoded(headers), status, statusText });
    }
    const text = await readBounded(body);
    // Whatever the type says: the SDK reads a message wherever there is one.
    const content = exactMessage(text);
    const plain = decoded(headers);
    return new Response(content === "" ? null : content, { headers: plain, status, statusText });
  };

/** What was sent compressed, or of a known length, is neither any more once it was read. */
function decoded(headers: Headers): Headers {
  const plain = new Headers(headers);
  plain.delete("content-encoding");
  plain.delete("content-length");
  return plain;
}

async function readBounded(body: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let size = 0;
  let text = "";
  for await (const chunk of body) {
    size += chunk.byteLength;
    if (size > largestMessage) throw tooLarge();
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Counts the bytes since the last empty line, which ends an event. A line ends by CR, LF or both. */
function boundedEvents(): TransformStream<Uint8Array, Uint8Array> {
  const [lf, cr] = [10, 13];
  let size = 0;
  let last = 0;
  let isEmpty = true;
  return new TransformStream({
    transform(chunk, controller) {
      for (const byte of chunk) {
        size += 1;
        // The second half of a line end is none of its own.
        if (byte === cr || (byte === lf && last !== cr)) {
          if (isEmpty) size = 0;
          isEmpty = true;
        } else if (byte !== lf) isEmpty = false;
        last = byte;
      }
      if (size > largestMessage) controller.error(tooLarge());
      else controller.enqueue(chunk);
    },
  });
}

const tooLarge = () => new Error(`the server sent a message of more than ${largestMessage} bytes`);

/**
 * A JSON-RPC message as text: as it came, or, where it can't be read exactly, an error to the request it answers. Of a
 * list of tools only the tools that can't be read are replaced, each by its name and what is wrong with it. What is not
 * JSON at all stays as it is, for its reader to refuse. This is the one door for what a server sends, over standard
 * streams, as one JSON answer and as server-sent events.
 *
 * @throws where nobody waits for the message: it is lost, and nothing else is
 */
export function exactMessage(text: string): string {
  const read = parseJson(text);
  if (read.ok || read.reason === "syntax") return text;
  return JSON.stringify(inItsPlace(text, read.problem));
}

/**
 * The same, read: a JSON-RPC message, as far as that can be told at a glance. The SDK looks at it once more, part by
 * part, where it decides what the message is.
 *
 * @throws for what is no message, and where {@link exactMessage} does
 */
export function readMessage(text: string): JSONRPCMessage {
  const read = parseJson(text);
  if (!read.ok && read.reason === "syntax") throw new Error(`a message ${read.problem}`);
  const message = read.ok ? read.value : inItsPlace(text, read.problem);
  if (!isJsonObject(message) || message["jsonrpc"] !== "2.0") {
    throw new Error("a message is not JSON-RPC");
  }
  return message as unknown as JSONRPCMessage;
}

/** What stands for a message that can't be read exactly. */
function inItsPlace(text: string, problem: string): JsonObject {
  const message: unknown = JSON.parse(text);
  if (!isJsonObject(message)) throw new Error(`a message ${problem}`);
  const { id, result, method } = message;
  // What has a method asks us or tells us something: its id is the server's own, and answers no request of ours.
  if ((typeof id !== "string" && typeof id !== "number") || method !== undefined) {
    throw new Error(`a message ${problem}`);
  }
  if (isJsonObject(result) && Array.isArray(result["tools"])) {
    const tools = exactTools(text, result["tools"]);
    const { nextCursor = null } = result;
    const cursor = typeof nextCursor === "string" ? { nextCursor } : {};
    return { jsonrpc: "2.0", id, result: { ...cursor, tools } };
  }
  const error = { code: -32_603, message: `the server's answer ${problem}` };
  return { jsonrpc: "2.0", id, error };
}

/** How deep a tool may be nested in the list, so that the whole message is not too deep. */
const maxToolDepth = maxJsonDepth - 4;

/** The tools of a list; those that can't be read exactly by their name, and `unreadable` with the reason. */
function exactTools(text: string, tools: Json[]): Json[] {
  const problems = new Map<number, string>();
  for (const { path, digits } of lostNumbers(text)) {
    const at = Number(/^result\.tools\[(\d+)\]/u.exec(path)?.[1] ?? Number.NaN);
    if (!problems.has(at)) problems.set(at, `${path} can't be kept exactly: ${digits}`);
  }
  return tools.map((tool, at) => {
    const isDeep = jsonDepth(tool, maxToolDepth) > maxToolDepth;
    const problem = isDeep ? `nested deeper than ${maxToolDepth} levels` : problems.get(at);
    if (problem === undefined) return tool;
    const name = isJsonObject(tool) ? tool["name"] : null;
    return { name: typeof name === "string" ? name : null, unreadable: problem };
  });
}

/** What a request of the server counts as, in characters: each costs an answer, which is an HTTP request of ours. */
const requestCosts = 100_000;

/** Milliseconds of one turn that what a server sent may take; the rest waits for the next turn. */
const turnMs = 4;

/**
 * The events of a stream, each message through {@link exactMessage}; one that nobody waits for is left out. A stream that
 * sends without end what nobody asked for is given up: messages, requests, comments.
 */
function exactEvents(traffic: Traffic): TransformStream<string, string> {
  const { unasked } = traffic;
  let parser: ReturnType<typeof createParser>;
  const insist = (isLittle: boolean): void => {
    if (isLittle) return;
    traffic.giveUp(floods);
    throw new Error(`the server ${floods}`);
  };
  let turn = performance.now();
  return new TransformStream({
    start(controller) {
      parser = createParser({
        onRetry: (ms) => controller.enqueue(`retry: ${ms}\n\n`),
        onEvent({ id, event, data }) {
          insist(unasked.take(0));
          const message = data === "" ? null : parseJson(data);
          if (message !== null) traffic.brought();
          if (message?.ok === true && isJsonObject(message.value)) {
            const { id: asks, method } = message.value;
            // An answer is as long as its tool made it; one to nothing is like any other message.
            if (method === undefined) {
              if (traffic.answers(asks)) unasked.giveBackText(data.length);
            } else if (asks !== undefined) insist(unasked.take(requestCosts));
          }
          let exact: string;
          try {
            exact = message === null || message.ok ? data : exactMessage(data);
          } catch {
            return;
          }
          const lines = exact.split("\n").map((line) => `data: ${line}`);
          if (id !== undefined) lines.unshift(`id: ${id}`);
          if (event !== undefined) lines.unshift(`event: ${event}`);
          controller.enqueue(`${lines.join("\n")}\n\n`);
        },
      });
    },
    async transform(chunk) {
      insist(unasked.takeText(chunk.length));
      parser.feed(chunk);
      if (performance.now() - turn < turnMs) return;
      await setImmediate();
      turn = performance.now();
    },
  });
}
