import { type Failure, type FailureKind, terminal } from "../../machines/contracts/failure.ts";
import { readRetryAfter } from "../../machines/contracts/retry-after.ts";

/** What the control plane answered; `body` is parsed JSON, or the text where it was none. */
export interface Answer {
  status: number;
  headers: Readonly<Record<string, string | string[] | undefined>>;
  body: unknown;
}

/** Axum's words for a body over its limit, which the reference wraps in a 400 (wire contract 1.2). */
const overLimit = /length limit exceeded/i;

/**
 * Decides, here and nowhere else, what an error answer means to us. `details` carry the HTTP status and
 * the control plane's own code.
 *
 * @param call the request as a person would name it, `POST /v1/runs`
 * @param now epoch milliseconds
 */
export function toFailure(answer: Answer, call: string, now: number): Failure {
  const { code, message } = readError(answer.body);
  const text = [`${call}: ${answer.status}`, code, message].filter(Boolean).join(" ");
  const kind = kindOf(answer.status, message);
  const details = code === "" ? { status: answer.status } : { status: answer.status, code };
  if (kind !== "unavailable" && kind !== "rate_limited") return terminal(kind, text, details);
  const retryAfterMs =
    readRetryAfter(answer.headers["retry-after"], now) ??
    readRetryAfter(askedInBody(answer.body), now);
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return { kind, message: text, retryable: true, ...wait, details };
}

function kindOf(status: number, message: string): FailureKind {
  if (status >= 500 || status === 408) return "unavailable";
  switch (status) {
    case 429:
      return "rate_limited";
    case 401:
    case 403:
      return "unauthorized";
    case 404:
      return "not_found";
    case 409:
      return "conflict";
    case 413:
      return "too_large";
    case 400:
      return overLimit.test(message) ? "too_large" : "refused";
    default:
      return "refused";
  }
}

/** `retry_after` of the body, in seconds as a header would have it: the reference's 429 carries it there. */
function askedInBody(body: unknown): string | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  const inner = "error" in body ? askedInBody(body.error) : undefined;
  if (inner !== undefined) return inner;
  const value = "retry_after" in body ? body.retry_after : undefined;
  return typeof value === "number" ? String(Math.ceil(value)) : undefined;
}

/** Reads `{error: {code, message}}`, the flat form of the OpenAPI file, or plain text. */
function readError(body: unknown): { code: string; message: string } {
  if (typeof body === "string") return { code: "", message: clip(body) };
  if (typeof body !== "object" || body === null) return { code: "", message: "" };
  if ("error" in body && typeof body.error === "object") return readError(body.error);
  const code = "code" in body && typeof body.code === "string" ? body.code.slice(0, 64) : "";
  const message = "message" in body && typeof body.message === "string" ? clip(body.message) : "";
  return { code, message };
}

const clip = (text: string) => text.replaceAll(/\s+/g, " ").trim().slice(0, 500);
