import { hash } from "node:crypto";
import { appendFile, readFile } from "node:fs/promises";
import { stringify } from "safe-stable-stringify";
import { fail, ok, terminal } from "../../machines/contracts/domain/failure.ts";
import {
  isJsonObject,
  type Json,
  type JsonObject,
  parseJson,
} from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import type {
  ModelProvider,
  ModelReply,
  ModelRequest,
} from "../../machines/contracts/ports/model-provider.ts";
import { partsOf } from "./scripted.ts";

/*
 * A recording is a file of JSON lines, one an answered call: `{"request": …, "reply": …}`, with secrets taken out of
 * both. A request is found again by all that it says, its idempotency key aside; asked the same several times, it gets
 * its answers in the order in which they were recorded, and then the last one. The same key gets the same answer.
 *
 * With a live provider an unknown request is asked of it, and its answer added to the file; without one it fails, and
 * the failure says where the nearest recorded conversation differs. Failures are not recorded.
 */
export interface RecordedOptions {
  file: string;
  /** Takes secrets out of a text. */
  hide: (text: string) => string;
  /** Asked for what is not recorded, by the rest of the name after `recorded/`; null to play back only. */
  live: ModelProvider | null;
}

interface Exchange {
  request: JsonObject;
  reply: ModelReply;
}

export function createRecorded({ file, hide, live }: RecordedOptions): ModelProvider {
  let loading: Promise<Recording> | null = null;
  async function load(): Promise<Recording> {
    const recording = await (loading ??= readRecording(file));
    // A file that is mended is read at the next call.
    if (typeof recording === "string") loading = null;
    return recording;
  }
  const clean = (request: ModelRequest): JsonObject => {
    const { idempotencyKey: _key, ...said } = request;
    return hideIn(said as unknown as JsonObject, hide) as JsonObject;
  };
  return {
    async complete(request, signal, onPart) {
      if (signal.aborted) {
        return fail(terminal("cancelled", "the model call was cancelled", { reason: "cancelled" }));
      }
      const recording = await load();
      if (typeof recording === "string") {
        return fail(terminal("invalid_input", recording, { reason: "unknown_model" }));
      }
      const asked = clean(request);
      const known = recording.find(asked, request.idempotencyKey);
      if (known !== null) {
        for (const part of partsOf(known)) await onPart?.(part);
        return ok({ ...known, scripted: true });
      }
      if (live === null) return fail(notRecorded(file, asked, recording.nearest(asked)));
      const refused = await refusal(file);
      if (refused !== null)
        return fail(terminal("misconfigured", refused, { reason: "bad_request" }));
      const outcome = await live.complete(request, signal, onPart);
      if (!outcome.ok) return outcome;
      const reply = hideIn(outcome.value as unknown as JsonObject, hide) as unknown as ModelReply;
      recording.add({ request: asked, reply }, request.idempotencyKey);
      await appendFile(file, `${JSON.stringify({ request: asked, reply })}\n`, { mode: 0o600 });
      return outcome;
    },
    ...(live?.targets === undefined ? {} : { targets: live.targets }),
  };
}

/** Why nothing can be written to the file, known before anything is paid for; null when it can be. */
function refusal(file: string): Promise<string | null> {
  return appendFile(file, "", { mode: 0o600 }).then(
    () => null,
    ({ code }: NodeJS.ErrnoException) => `the recording ${file} can't be written: ${code}`,
  );
}

type Recording = Exchanges | string;

/** The exchanges of a file; a text that says what is wrong with it. A file that is not there yet is empty. */
async function readRecording(file: string): Promise<Recording> {
  const exchanges = new Exchanges();
  let content = "";
  try {
    content = await readFile(file, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT") return `the recording ${file} can't be read: ${code}`;
  }
  for (const [at, line] of content.split("\n").entries()) {
    if (line.trim() === "") continue;
    const read = parseJson(line);
    const value = read.ok && isJsonObject(read.value) ? read.value : {};
    const { request, reply } = value;
    if (!isJsonObject(request) || !isReply(reply)) {
      return `line ${at + 1} of the recording ${file} is not an exchange: expected {"request": …, "reply": …}`;
    }
    exchanges.add({ request, reply: reply as unknown as ModelReply }, null);
  }
  return exchanges;
}

function isReply(reply: Json | undefined): reply is JsonObject {
  return (
    isJsonObject(reply) &&
    typeof reply["content"] === "string" &&
    Array.isArray(reply["toolCalls"]) &&
    isJsonObject(reply["usage"])
  );
}

class Exchanges {
  readonly #byRequest = new Map<string, ModelReply[]>();
  readonly #requests: JsonObject[] = [];
  /** How many of a request's answers were given. */
  readonly #given = new Map<string, number>();
  readonly #byKey = new Map<string, ModelReply>();

  /** @param key under which it was asked just now; null for one from the file */
  add({ request, reply }: Exchange, key: string | null): void {
    const digest = digestOf(request);
    const replies = this.#byRequest.get(digest) ?? [];
    this.#byRequest.set(digest, [...replies, reply]);
    if (replies.length === 0) this.#requests.push(request);
    if (key === null) return;
    this.#byKey.set(`${digest} ${key}`, reply);
    this.#given.set(digest, (this.#given.get(digest) ?? 0) + 1);
  }

  find(request: JsonObject, key: string): ModelReply | null {
    const digest = digestOf(request);
    const again = this.#byKey.get(`${digest} ${key}`);
    if (again !== undefined) return again;
    const replies = this.#byRequest.get(digest) ?? [];
    const given = this.#given.get(digest) ?? 0;
    const reply = replies[Math.min(given, replies.length - 1)];
    if (reply === undefined) return null;
    this.#given.set(digest, given + 1);
    this.#byKey.set(`${digest} ${key}`, reply);
    return reply;
  }

  /** The recorded request that shares the longest beginning of its conversation with this one. */
  nearest(request: JsonObject): JsonObject | null {
    const far = (other: JsonObject) => sharedMessages(request, other);
    return this.#requests.toSorted((a, b) => far(b) - far(a))[0] ?? null;
  }
}

function digestOf(request: JsonObject): string {
  return hash("sha256", stringify(request) ?? "");
}

const messagesOf = ({ messages }: JsonObject): Json[] => (Array.isArray(messages) ? messages : []);

function sharedMessages(first: JsonObject, second: JsonObject): number {
  const others = messagesOf(second);
  const differs = messagesOf(first).findIndex(
    (message, at) => stringify(message) !== stringify(others[at] ?? null),
  );
  return differs < 0 ? messagesOf(first).length : differs;
}

function notRecorded(file: string, asked: JsonObject, nearest: JsonObject | null) {
  const why = nearest === null ? "nothing is recorded" : difference(asked, nearest);
  const message = `the recording ${file} has no answer to this request: ${why}; set STATEPLANE_RECORD_MODELS=yes to ask the model and record its answer`;
  return terminal("model_failed", message, { reason: "bad_request", provider: "recorded" });
}

function difference(asked: JsonObject, nearest: JsonObject): string {
  const shared = sharedMessages(asked, nearest);
  const message = messagesOf(asked)[shared];
  if (message !== undefined) {
    const said = cutText(stringify(message) ?? "", 120);
    return `message ${shared + 1} of the conversation is new (${said})`;
  }
  const keys = new Set([...Object.keys(asked), ...Object.keys(nearest)]);
  const others = [...keys].filter((key) => stringify(asked[key]) !== stringify(nearest[key]));
  return `the nearest recorded request differs in ${others.join(", ")}`;
}

/** Every text of a value, its keys as they are: they are ours, or a schema's. */
function hideIn(value: Json, hide: (text: string) => string): Json {
  if (typeof value === "string") return hide(value);
  if (Array.isArray(value)) return value.map((item) => hideIn(item, hide));
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hideIn(item, hide)]));
}
