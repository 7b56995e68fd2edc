import { fail, type Failure, type Outcome } from "../../machines/contracts/domain/failure.ts";
import type { JsonObject } from "../../machines/contracts/domain/json.ts";
import type { Usage } from "../../machines/contracts/domain/step-result.ts";
import type {
  ModelPart,
  ModelReply,
  ModelRequest,
  OnModelPart,
} from "../../machines/contracts/ports/model-provider.ts";
import type { ToolNames } from "./tool-calls.ts";
import { BrokenConnection, calls, CallState, UnusableAnswer, type Vendor } from "./vendor-fetch.ts";
import {
  quote,
  type Speaker,
  toFailure,
  vendorFailure,
  type VendorError,
} from "./vendor-trouble.ts";

/*
 * One call of a vendor's SDK, always as a stream. The SDKs' own retries, time-outs, logging, redirects and unbounded
 * buffers are off: `fetch` is ours, counts the bytes and watches the time.
 *
 *   opened      headers of a 200 came; from now on the call has used something, whatever becomes of it
 *   events      each is taken by a `Reader`, which makes parts of it; each part is told before the next event is read
 *   whole       the reader has seen the answer's end: from here on nothing that fails takes the answer away, unless
 *               more of it comes
 *
 * A server that answers in one piece, streams or not, is read in the same way: its body becomes a single event.
 *
 * Time: `idleMs` between two pieces of the body (and before the first), `totalMs` for the whole. Both stand still
 * while a part is being told. A call that ends before the answer is whole fails with what it used in the details.
 */

/** What was asked, as the reader of the answer needs it. */
export interface Asked {
  vendor: Speaker;
  request: ModelRequest;
  /** As it was sent. */
  body: object;
  names: ToolNames;
  /** Parameters that were left out. */
  dropped: string[];
}

/** Reads the events of one answer. */
export interface Reader<Event> {
  /**
   * Parts of the answer in this event; a vendor's error inside it is put into `error`, unless the answer was whole.
   *
   * @param isDocument true when the answer came in one piece and not as a stream
   */
  take(event: Event, isDocument: boolean): ModelPart[];
  readonly error: VendorError | null;
  /** Nothing that belongs to the answer is missing, but perhaps the count of its tokens. */
  readonly isWhole: boolean;
  /** The stream has ended by the protocol's own mark, and not because it broke off. */
  end?(): void;
  /** So many bytes of an answer in one piece came, and can't be read. */
  miss(bytes: number): void;
  /** What was used so far: counted by the vendor, else by what came. */
  usage(): Usage;
  reply(): Outcome<ModelReply>;
}

export interface Call<Event> {
  signal: AbortSignal;
  onPart: OnModelPart | undefined;
  open: (signal: AbortSignal) => PromiseLike<AsyncIterable<Event>>;
  reader: Reader<Event>;
  /** Told of a vendor's error before anything of an answer came. */
  onError?: (error: VendorError) => void;
}

/** Makes one call and turns all expected trouble into a failure. */
export async function callVendor<Event>(
  vendor: Vendor,
  { signal, onPart, open, reader, onError }: Call<Event>,
): Promise<Outcome<ModelReply>> {
  const state = new CallState(vendor, signal);
  let failure: Failure | null = null;
  let isRead = false;
  let isOver = false;
  try {
    const events = await calls.run(state, async () => open(state.signal));
    // A signal that was raised ends the SDKs' streams without an error.
    for await (const event of readable(events)) {
      isRead = true;
      const parts = reader.take(event, state.isDocument);
      if (reader.error !== null) break;
      if (reader.isWhole) state.hurry();
      else state.calm();
      if (onPart === undefined || parts.length === 0) continue;
      state.hold();
      for (const part of parts) await onPart(part);
      state.go();
    }
    isOver = reader.error === null;
    if (state.isDone && !state.signal.aborted) reader.end?.();
  } catch (error) {
    failure = expected(vendor, error, state.isOpened ? undefined : onError);
    if (failure === null && !state.signal.aborted) throw error;
  } finally {
    state.close(isOver);
  }
  if (reader.error !== null) failure = vendorFailure(vendor, reader.error);
  else if (reader.isWhole) {
    const reply = reader.reply();
    return reply.ok ? reply : fail(spent(reply.failure, reader.usage()));
  }
  if (signal.aborted) failure = toFailure(vendor, "cancelled", "the model call was cancelled");
  else if (state.late !== null) failure = tooLate(vendor, state.late, state.isOpened);
  if (state.isJson && !isRead) reader.miss(state.bytes);
  failure ??= toFailure(vendor, "network", `${vendor.name}'s answer broke off before its end`);
  return fail(state.isOpened ? spent(failure, reader.usage()) : failure);
}

/** A failure that says what was used in vain. */
function spent(failure: Failure, usage: Usage): Failure {
  if (usage.inputTokens + usage.outputTokens === 0) return failure;
  return { ...failure, details: { ...failure.details, usage: usage as JsonObject } };
}

function tooLate(vendor: Vendor, late: "idle" | "total", isOpened: boolean): Failure {
  const { name, idleMs, totalMs } = vendor;
  const message =
    late === "total"
      ? `${name} did not finish its answer within ${totalMs} ms`
      : isOpened
        ? `${name} sent nothing more for ${idleMs} ms`
        : `${name} did not answer within ${idleMs} ms`;
  return toFailure(vendor, "timeout", message);
}

function expected(
  vendor: Vendor,
  error: unknown,
  onError: Call<unknown>["onError"],
): Failure | null {
  const unusable = causeOf(error, (cause) => cause instanceof UnusableAnswer);
  if (unusable !== null) return (unusable as UnusableAnswer).failure;
  const broken = causeOf(error, (cause) => cause instanceof BrokenConnection);
  if (broken !== null) {
    const code = causeOf(broken, (cause) => typeof codeOf(cause) === "string");
    const why = code === null ? "" : ` (${quote(vendor, String(codeOf(code)))})`;
    const what = (broken as BrokenConnection).isBody ? "'s answer broke off" : " can't be reached";
    return toFailure(vendor, "network", `${vendor.name}${what}${why}`);
  }
  const thrown = error instanceof UnreadableEvent ? error.cause : error;
  const said = vendor.readError(thrown);
  if (said !== null && (said.said !== undefined || said.status !== undefined)) {
    onError?.(said);
    return vendorFailure(vendor, said);
  }
  if (causeOf(error, (cause) => cause instanceof SyntaxError) !== null) {
    return toFailure(vendor, "network", `${vendor.name}'s answer holds an event that is not JSON`);
  }
  if (!(error instanceof UnreadableEvent)) return null;
  const message = `${vendor.name} answered out of contract: its SDK can't read an event`;
  return toFailure(vendor, "bad_answer", message);
}

/** What a vendor's SDK threw while it read an event: the SDKs check nothing, and stumble over what they don't expect. */
class UnreadableEvent extends Error {
  override readonly name = "UnreadableEvent";
}

/** The same events; only what the reading of them throws is marked, and no fault of whoever takes them. */
async function* readable<Event>(events: AsyncIterable<Event>): AsyncGenerator<Event> {
  try {
    yield* events;
  } catch (cause) {
    throw new UnreadableEvent("the SDK could not read an event", { cause });
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** The error or one of its causes: the SDKs wrap what `fetch` throws. */
function causeOf(error: unknown, isIt: (cause: unknown) => boolean): unknown {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; depth += 1) {
    if (isIt(cause)) return cause;
    cause = cause.cause;
  }
  return null;
}
