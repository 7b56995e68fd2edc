import { setTimeout as sleep } from "node:timers/promises";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { type Failure, fail, ok, type Outcome } from "../../machines/contracts/domain/failure.ts";
import { readRunStatus, type RunStatus } from "../../machines/contracts/domain/status.ts";
import type { SaidText } from "../../machines/contracts/ports/control-plane.ts";
import { isJsonObject, type Json, parseJson } from "../../machines/contracts/domain/json.ts";
import { type ControlPlaneApi, pathTo } from "./api.ts";

/** The server's heartbeats come every 15 s: three missed, and the connection is dead. */
const silenceMs = 45_000;
const firstPauseMs = 250;
const longestPauseMs = 10_000;
/** No event of either control plane is near this long; a stream that goes on without ending one is cut off. */
const longestEvent = 1024 * 1024;

/**
 * Follows `GET /v1/events`, telling each change of a run's status and, to whoever wants it, what models say and which steps are to stop, and connects
 * again with growing pauses until aborted. What came while it was disconnected is told when it is back, as far as the control plane
 * still has it; else the runs that have not ended are told as they are. So whoever must know asks for the run as well.
 * Only where `events` is advertised.
 *
 * @returns ok when aborted; a failure when the control plane refuses for good, `not_found` when it has no such stream
 */
export function watchRuns(
  api: Pick<ControlPlaneApi, "http">,
  onChange: (runId: string, status: RunStatus) => void,
  signal: AbortSignal,
  onText?: (said: SaidText) => void,
  onStop?: (step: { runId: string; stepId: string }) => void,
): Promise<Outcome<null>> {
  const onEvent = ({ event, data }: EventSourceMessage) => {
    const changes = event === "run" ? [readJson(data)] : event === "missed" ? readOpen(data) : [];
    for (const change of changes.map(readChange)) {
      if (change !== null) onChange(change.runId, change.status);
    }
    const said = event === "text" && onText !== undefined ? readText(data) : null;
    if (said !== null) onText?.(said);
    const stop = event === "stop" && onStop !== undefined ? readStep(data) : null;
    if (stop !== null) onStop?.(stop);
  };
  return follow(api, "/v1/events", onEvent, signal);
}

/**
 * Follows one run's channel, `GET /v1/events/run:ID`, which FerrumDeck's gateway has from 0.8 on and does not advertise.
 * Its events are of many kinds, and some are lost when it says so: each one, and each connection made, is only a hint
 * to look at the run.
 *
 * @returns ok when aborted; a failure when it is refused for good, `not_found` where the gateway has no such channel
 */
export async function watchRun(
  api: Pick<ControlPlaneApi, "http">,
  runId: string,
  onHint: () => void,
  signal: AbortSignal,
): Promise<Outcome<null>> {
  const path = pathTo`/v1/events/run:${runId}`;
  if (!path.ok) return path;
  return follow(api, path.value, onHint, signal);
}

/** Connects again and again; what is not there, or refused, ends it. */
async function follow(
  api: Pick<ControlPlaneApi, "http">,
  path: string,
  onEvent: (event: EventSourceMessage) => void,
  signal: AbortSignal,
): Promise<Outcome<null>> {
  let pauseMs = firstPauseMs;
  let lastId: string | undefined;
  const read = (event: EventSourceMessage) => {
    if (isSendable(event.id)) lastId = event.id;
    onEvent(event);
  };
  while (!signal.aborted) {
    const stream = await api.http.stream(
      path,
      silenceMs,
      signal,
      undefined,
      lastId === undefined ? {} : { "last-event-id": lastId },
    );
    if (stream.ok) {
      const connectedAt = performance.now();
      await readEvents(stream.value, read);
      // A server that takes us and drops us at once is no better than one that is away.
      if (performance.now() - connectedAt > longestPauseMs) pauseMs = firstPauseMs;
    } else if (signal.aborted) break;
    else if (isMissing(stream.failure)) return fail({ ...stream.failure, kind: "not_found" });
    else if (!stream.failure.retryable) return stream;
    const askedMs = stream.ok ? 0 : (stream.failure.retryAfterMs ?? 0);
    // Half of the pause is chance, so that many workers do not come back at once.
    await pause(Math.max(askedMs, pauseMs * (0.5 + Math.random() / 2)), signal);
    pauseMs = Math.min(pauseMs * 2, longestPauseMs);
  }
  return ok(null);
}

/**
 * No such route: an unadvertised one is probed for, and a gateway without it says so in a router's words, not in its own.
 * Whoever asks falls back to looking, and may ask again later.
 */
const isMissing = ({ details }: Failure) =>
  details?.["status"] === 404 || details?.["status"] === 405;

/** An id that a header can carry back; longer ones are nobody's. */
const isSendable = (id: string | undefined): id is string =>
  id !== undefined && /^[\x21-\x7e]{1,255}$/.test(id);

/** Ends when the stream does, in whatever way: the loop above connects again. */
async function readEvents(
  body: AsyncIterable<Uint8Array>,
  onEvent: (event: EventSourceMessage) => void,
): Promise<void> {
  let isOver = false;
  const parser = createParser({
    onEvent,
    maxBufferSize: longestEvent,
    onError: ({ type }) => (isOver ||= type === "max-buffer-size-exceeded"),
  });
  const decoder = new TextDecoder();
  try {
    for await (const chunk of body) {
      parser.feed(decoder.decode(chunk, { stream: true }));
      if (isOver) return;
    }
  } catch {
    // The connection broke.
  }
}

function readJson(data: string): Json {
  const read = parseJson(data);
  return read.ok ? read.value : null;
}

/** Of an event that says that others are gone: the runs that have not ended. */
function readOpen(data: string): Json[] {
  const read = readJson(data);
  const runs = isJsonObject(read) ? read["runs"] : null;
  return Array.isArray(runs) ? runs : [];
}

function readChange(read: Json): { runId: string; status: RunStatus } | null {
  if (!isJsonObject(read)) return null;
  const { run_id: runId, status: spelled } = read;
  const status = typeof spelled === "string" ? readRunStatus(spelled) : undefined;
  return typeof runId === "string" && status !== undefined ? { runId, status } : null;
}

function readStep(data: string) {
  const read = parseJson(data);
  if (!read.ok || !isJsonObject(read.value)) return null;
  const { run_id: runId, step_id: stepId } = read.value;
  if (typeof runId !== "string" || typeof stepId !== "string") return null;
  return { runId, stepId, said: read.value };
}

function readText(data: string): SaidText | null {
  const step = readStep(data);
  if (typeof step?.said["text"] !== "string") return null;
  const { runId, stepId, said } = step;
  const restart = said["restart"] === true ? { restart: true as const } : {};
  return { runId, stepId, text: step.said["text"], ...restart };
}

const pause = (ms: number, signal: AbortSignal) => sleep(ms, undefined, { signal }).catch(() => {});
