import { parseJson } from "../../machines/contracts/domain/json.ts";
import { cutText } from "../../machines/contracts/domain/text.ts";
import {
  retryable,
  terminal,
  fail,
  ok,
  type Outcome,
  type Failure,
} from "../../machines/contracts/domain/failure.ts";
import { readRetryAfter } from "../../machines/contracts/wire/retry-after.ts";

/**
 * What both vendors' SDKs need around them. Their own retries, logging, redirects and unbounded buffers are off:
 * an answer is read here, whole and within bounds, before the SDK sees it, and every way in which a call can end
 * becomes a reply or one of our failures.
 */
export interface Vendor {
  name: string;
  /** Replaced in every text of the vendor's that we pass on: some servers repeat the key they refuse. */
  apiKey: string;
  /** The environment variable that holds the key. */
  keyVariable: string;
  /** Of one call, first byte to last, milliseconds. */
  timeoutMs: number;
  isVendorError: (error: unknown) => error is VendorError;
}

/** What both vendors' `APIError` carries; a connection error has no status. */
export interface VendorError {
  name: string;
  message: string;
  status: number | undefined;
  headers: Headers | undefined;
  /** The vendor's own name for the error, such as `insufficient_quota`. */
  code?: string | null | undefined;
}

/** Bytes of an answer. The longest that any model gives today is below two. */
const maxAnswerBytes = 16 * 1024 * 1024;

/** An answer that can't be taken as it is, in our words. */
class UnusableAnswer extends Error {
  override readonly name = "UnusableAnswer";
  readonly failure: Failure;

  constructor(failure: Failure) {
    super(failure.message);
    this.failure = failure;
  }
}

/**
 * Makes one call of a vendor's SDK and turns all expected trouble into a failure. The time limit is ours and holds
 * for the whole answer: the SDKs' own ends with the headers.
 */
export async function askVendor<T>(
  vendor: Vendor,
  signal: AbortSignal,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<Outcome<T>> {
  const limit = AbortSignal.timeout(vendor.timeoutMs);
  try {
    return ok(await ask(AbortSignal.any([signal, limit])));
  } catch (error) {
    if (signal.aborted) return fail(terminal("cancelled", "the model call was cancelled"));
    if (limit.aborted) {
      const waited = `${vendor.name} did not answer within ${vendor.timeoutMs} ms`;
      return fail(retryable("unavailable", waited));
    }
    const unusable = causeOf(error, (cause) => cause instanceof UnusableAnswer);
    if (unusable !== null) return fail((unusable as UnusableAnswer).failure);
    if (vendor.isVendorError(error)) return fail(vendorFailure(vendor, error));
    if (isBrokenAnswer(error)) {
      return fail(retryable("unavailable", `${vendor.name}'s answer broke off (${error.name})`));
    }
    throw error;
  }
}

/**
 * The `fetch` that the SDKs are given. It follows no redirect, which would hand the whole prompt to another host,
 * and reads the body within bounds before the SDK parses it, so that no number in it is rounded unseen.
 */
export function vendorFetch(vendor: Pick<Vendor, "name">): typeof fetch {
  return async (input, init) => {
    const response = await fetch(input, { ...init, redirect: "manual" });
    const text = await readBounded(vendor, response);
    if (response.ok) refuseInexact(vendor, text);
    const { status, statusText, headers } = response;
    const plain = new Headers(headers);
    // The text is decoded already.
    plain.delete("content-encoding");
    plain.delete("content-length");
    return new Response(text === "" ? null : text, { status, statusText, headers: plain });
  };
}

async function readBounded(vendor: Pick<Vendor, "name">, response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let size = 0;
  let text = "";
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > maxAnswerBytes) {
      const message = `${vendor.name}'s answer is longer than ${maxAnswerBytes} bytes`;
      throw new UnusableAnswer(terminal("too_large", message));
    }
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function refuseInexact(vendor: Pick<Vendor, "name">, text: string): void {
  const read = parseJson(text);
  // What is no JSON at all is the SDK's to say: it knows what it asked for.
  if (read.ok || read.reason === "syntax") return;
  const message = `${vendor.name}'s answer ${read.problem}`;
  throw new UnusableAnswer(terminal("invalid_output", message));
}

/** A body that ends early is a TypeError of fetch's, one that is no JSON a SyntaxError. */
function isBrokenAnswer(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof SyntaxError;
}

/** The error or one of its causes: the SDKs wrap what `fetch` throws. */
function causeOf(error: unknown, isIt: (cause: unknown) => boolean): unknown {
  for (let cause = error, depth = 0; cause instanceof Error && depth < 8; depth += 1) {
    if (isIt(cause)) return cause;
    cause = cause.cause;
  }
  return null;
}

/**
 * A vendor's error as ours. What may pass is retryable: too many requests, the vendor's own trouble, a connection
 * that was lost, a redirect (some proxy's). What the request itself brought about is not, nor is an account
 * without money, which the vendors call 429 as well.
 */
export function vendorFailure(vendor: Vendor, error: VendorError): Failure {
  const { status } = error;
  if (status === undefined) {
    return retryable("unavailable", `${vendor.name} can't be reached (${error.name})`);
  }
  const said = saidBy(vendor, error.message);
  const waitMs = readRetryAfter(error.headers?.get("retry-after"), Date.now());
  if (error.code === "insufficient_quota") {
    return terminal("model_failed", `the account at ${vendor.name} has no quota left: ${said}`);
  }
  if (status === 429) {
    return retryable("rate_limited", `${vendor.name} answered 429: ${said}`, waitMs);
  }
  // The vendor's text is left out: it may repeat part of the key.
  if (status === 401 || status === 403) {
    return terminal(
      "unauthorized",
      `${vendor.name} answered ${status}: the key in ${vendor.keyVariable} is not accepted for this`,
    );
  }
  if (status >= 300 && status < 400) {
    const message = `${vendor.name} answered ${status}, a redirect; redirects are not followed`;
    return retryable("unavailable", message, waitMs);
  }
  if (status >= 500 || status === 408 || status === 409) {
    return retryable("unavailable", `${vendor.name} answered ${status}: ${said}`, waitMs);
  }
  return terminal("model_failed", `${vendor.name} refused the request: ${said}`);
}

/** A vendor's words, bounded, without the key. */
function saidBy({ apiKey }: Pick<Vendor, "apiKey">, text: string): string {
  const hidden = apiKey === "" ? text : text.replaceAll(apiKey, "[redacted]");
  return hidden.length > 500 ? `${cutText(hidden, 500)}…` : cutText(hidden, 500);
}
