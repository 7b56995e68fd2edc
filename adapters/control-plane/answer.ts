import { type } from "arktype";
import {
  type Failure,
  type FailureKind,
  fail,
  ok,
  type Outcome,
  retryable,
  terminal,
} from "../../machines/contracts/domain/failure.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";

/** What came back; `body` is parsed JSON, or the text where it was none. */
export interface Answer {
  /** The call as a person would name it: `POST /v1/runs`. */
  call: string;
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: unknown;
}

/**
 * A 2xx answer's body in the shape of the contract. Anything else was not the control plane, whatever its status: it is
 * passing trouble, with what was expected and what came.
 *
 * @param about what the view, or each view of a list, must name: a cache may answer with somebody else's
 */
export function checked<T extends object>(
  answer: Outcome<Answer>,
  shape: (body: unknown) => T | type.errors,
  what: string,
  about: Record<string, string> = {},
): Outcome<T> {
  if (!answer.ok) return answer;
  const read = shape(answer.value.body);
  if (read instanceof type.errors) {
    return fail(unreadable(answer.value, `expected a ${what}: ${read.summary}`));
  }
  const views = (Array.isArray(read) ? read : [read]) as Record<string, unknown>[];
  for (const [key, wanted] of Object.entries(about)) {
    if (!views.every((view) => view[key] === wanted)) {
      return fail(unreadable(answer.value, `expected a ${what} with ${key} ${wanted}`));
    }
  }
  return ok(read);
}

/** Passing trouble: something answered, and it was not the control plane in its own words. */
export function unreadable(answer: Answer, expected: string): Failure {
  const isJson = typeof answer.body === "object" && answer.body !== null;
  const guess = isJson
    ? ""
    : ". A proxy, or something else, answered in place of the control plane";
  const message = `${answer.call}: ${describe(answer)}; ${cutText(expected, 300)}${guess}`;
  return { ...retryable("unavailable", message), details: { status: answer.status } };
}

/** Status, content type and first words. */
function describe({ status, headers, body }: Answer): string {
  const contentType = headers["content-type"];
  const text = typeof body === "string" ? body : written(body);
  const words =
    text.trim() === "" ? "and no body" : `beginning ${JSON.stringify(oneLine(text, 80))}`;
  return `answered ${status} ${typeof contentType === "string" ? cutText(contentType, 60) : "without a content type"}, ${words}`;
}

/** A message is made of whatever came: nothing of it may throw. */
function written(body: unknown): string {
  try {
    return JSON.stringify(body) ?? "";
  } catch {
    return "[nested too deep to be shown]";
  }
}

/**
 * Decides, here and nowhere else, what an error answer means to us; see the protocol at the top of client.ts. `details`
 * carry the HTTP status, and the control plane's own code and words.
 *
 * @param now epoch milliseconds
 */
export function toFailure(answer: Answer, now: number): Failure {
  const { status } = answer;
  const said = readError(answer.body);
  const kind = kindOf(status, said?.code ?? null);
  if (kind === null) return unreadable(answer, "expected the control plane's answer");
  const { code = "", message = "" } = said ?? {};
  const text = [`${answer.call}: ${status}`, code, message].filter(Boolean).join(" ");
  const details = {
    status,
    ...(code === "" ? {} : { code }),
    ...(message === "" ? {} : { said: message }),
  };
  if (kind !== "unavailable" && kind !== "rate_limited") return terminal(kind, text, details);
  const retryAfterMs =
    readRetryAfter(answer.headers["retry-after"], now) ??
    readRetryAfter(askedInBody(answer.body), now);
  const words = said === null ? `${answer.call}: ${describe(answer)}` : text;
  return { ...retryable(kind, words, retryAfterMs), details };
}

/**
 * @param code the control plane's own, null where the body is not in its shape
 * @returns null where nothing but the shape tells that the control plane itself answered, and it is missing
 */
function kindOf(status: number, code: string | null): FailureKind | null {
  if (status >= 500 || status === 408 || status === 425) return "unavailable";
  if (status === 429) return "rate_limited";
  if (status === 401) return "unauthorized";
  if (code === null || status < 400) return null;
  // A key without the scope for a call is the key's trouble, as RFC 6750 has it; every other 403 may be the call's own.
  if (status === 403) return code === "INSUFFICIENT_SCOPE" ? "unauthorized" : "forbidden";
  if (status === 404) return "not_found";
  if (status === 409) return "conflict";
  return status === 413 ? "too_large" : "refused";
}

/** `retry_after` of the body, in seconds as a header would have it: FerrumDeck's 429 carries it there. */
function askedInBody(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const inner = "error" in body ? askedInBody(body.error) : undefined;
  if (inner !== undefined) return inner;
  const value = "retry_after" in body ? body.retry_after : undefined;
  return typeof value === "number" ? String(Math.ceil(value)) : undefined;
}

/** `{error: {code, message}}`, which the control plane alone writes; null for anything else. */
function readError(body: unknown): { code: string; message: string } | null {
  if (typeof body !== "object" || body === null || !("error" in body)) return null;
  const { error } = body;
  if (typeof error !== "object" || error === null || !("code" in error)) return null;
  if (typeof error.code !== "string" || error.code === "") return null;
  const message = "message" in error && typeof error.message === "string" ? error.message : "";
  return { code: cutText(error.code, 64), message: oneLine(message, 500) };
}

const oneLine = (text: string, most: number) =>
  cutText(
    cutText(text, most * 4)
      .replaceAll(/\s+/g, " ")
      .trim(),
    most,
  );
