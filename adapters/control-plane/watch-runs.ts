import { setTimeout as sleep } from "node:timers/promises";
import { ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import { readRunStatus, type RunStatus } from "../../machines/contracts/domain/status.ts";
import { isJsonObject } from "../../machines/contracts/domain/json.ts";
import type { ControlPlaneApi } from "./api.ts";

/** The server's heartbeats come every 15 s: three missed, and the connection is dead. */
const silenceMs = 45_000;
const firstPauseMs = 250;
const longestPauseMs = 10_000;

/**
 * Follows `GET /v1/events`, telling each change of a run's status, and connects again with growing pauses
 * until aborted. Changes made while disconnected are not told: whoever must know asks for the run as well.
 * Only where `events` is advertised.
 *
 * @returns ok when aborted; a failure when the control plane refuses for good
 */
export async function watchRuns(
  api: Pick<ControlPlaneApi, "http">,
  onChange: (runId: string, status: RunStatus) => void,
  signal: AbortSignal,
): Promise<Outcome<null>> {
  let pauseMs = firstPauseMs;
  while (!signal.aborted) {
    const stream = await api.http.stream("/v1/events", silenceMs, signal);
    if (stream.ok) {
      const connectedAt = performance.now();
      await follow(stream.value, onChange);
      // A server that takes us and drops us at once is no better than one that is away.
      if (performance.now() - connectedAt > longestPauseMs) pauseMs = firstPauseMs;
    } else if (!stream.failure.retryable && !signal.aborted) return stream;
    // Half of the pause is chance, so that many workers do not come back at once.
    await pause(pauseMs * (0.5 + Math.random() / 2), signal);
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
  return ok(null);
}

/** Ends when the stream does, in whatever way: the loop above connects again. */
async function follow(
  body: AsyncIterable<Uint8Array>,
  onChange: (runId: string, status: RunStatus) => void,
): Promise<void> {
  const events = readEvents(body);
  try {
    while (true) {
      const next = await events.next().catch(() => null);
      if (next === null || next.done === true) return;
      const change = next.value.event === "run" ? readChange(next.value.data) : null;
      if (change !== null) onChange(change.runId, change.status);
    }
  } finally {
    await events.return(undefined).catch(() => {});
  }
}

function readChange(data: string): { runId: string; status: RunStatus } | null {
  let read: unknown;
  try {
    read = JSON.parse(data);
  } catch {
    return null;
  }
  if (!isJsonObject(read)) return null;
  const { run_id: runId, status: spelled } = read;
  const status = typeof spelled === "string" ? readRunStatus(spelled) : undefined;
  return typeof runId === "string" && status !== undefined ? { runId, status } : null;
}

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => {});

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
