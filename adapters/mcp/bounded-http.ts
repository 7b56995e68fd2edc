import { parseJson } from "../../machines/contracts/domain/json.ts";

/** Bytes of one JSON answer, or of one server-sent event: as much as we read of a line over standard streams. */
export const largestMessage = 10 * 1024 * 1024;

/**
 * A `fetch` for the SDK's HTTP transport, which reads what it is sent whole. Here an answer that is too long is cut
 * off while it is read, redirects are not followed, and an answer that cannot be read exactly is replaced by an error
 * for the same request: a number that a double can't hold must not reach a step rounded.
 */
export const boundedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, { ...init, redirect: "manual" });
  const { body, headers, status, statusText } = response;
  if (body === null) return response;
  const type = headers.get("content-type") ?? "";
  if (type.startsWith("text/event-stream")) {
    return new Response(body.pipeThrough(boundedEvents()), { headers, status, statusText });
  }
  const text = await readBounded(body);
  const plain = new Headers(headers);
  // The text is decoded already.
  plain.delete("content-encoding");
  plain.delete("content-length");
  const content = type.startsWith("application/json") ? exactMessage(text) : text;
  return new Response(content === "" ? null : content, { headers: plain, status, statusText });
};

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

/** Counts the bytes since the last empty line, which ends an event. */
function boundedEvents(): TransformStream<Uint8Array, Uint8Array> {
  let size = 0;
  let endsLine = false;
  return new TransformStream({
    transform(chunk, controller) {
      for (const byte of chunk) {
        const isEnd = byte === 10;
        size = isEnd && endsLine ? 0 : size + 1;
        // A carriage return before the line feed does not part two line ends.
        if (byte !== 13) endsLine = isEnd;
      }
      if (size > largestMessage) controller.error(tooLarge());
      else controller.enqueue(chunk);
    },
  });
}

const tooLarge = () => new Error(`the server sent a message of more than ${largestMessage} bytes`);

/**
 * A JSON-RPC message as text: as it came, or, where it can't be read exactly, an error to the request it answers.
 * What is not JSON at all stays as it is, for its reader to refuse.
 */
export function exactMessage(text: string): string {
  const read = parseJson(text);
  if (read.ok || read.reason === "syntax") return text;
  const message = JSON.parse(text) as { id?: unknown } | null;
  const id = message?.id;
  if (typeof id !== "string" && typeof id !== "number")
    throw new Error(`a message ${read.problem}`);
  const error = { code: -32_603, message: `the server's answer ${read.problem}` };
  return JSON.stringify({ jsonrpc: "2.0", id, error });
}
