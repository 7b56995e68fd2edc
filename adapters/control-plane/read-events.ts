export interface ServerSentEvent {
  event: string;
  data: string;
}

/** No event of ours is near this long; a stream without line ends is cut off. */
const longestLine = 1024 * 1024;

/**
 * Cuts a `text/event-stream` body into events (WHATWG HTML, 9.2.6). Comments, ids and retry hints are passed
 * over.
 *
 * @throws RangeError when a line grows beyond one mebibyte
 */
export async function* readEvents(
  body: AsyncIterable<Uint8Array>,
): AsyncGenerator<ServerSentEvent> {
  const decoder = new TextDecoder();
  let rest = "";
  let event = "message";
  let data: string[] = [];
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    if (rest.length > longestLine) throw new RangeError("a line of the event stream is too long");
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield { event, data: data.join("\n") };
        event = "message";
        data = [];
      } else if (line.startsWith("event:")) event = fieldValue(line);
      else if (line.startsWith("data:")) data.push(fieldValue(line));
    }
  }
}

const fieldValue = (line: string) => line.slice(line.indexOf(":") + 1).replace(/^ /, "");
