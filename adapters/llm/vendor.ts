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
 * Makes one call of a vendor's SDK and turns all expected trouble into a failure. The time limit is ours and holds
 * for the whole answer: the SDKs' own ends with the headers.
 *
 * @param isVendorError recognises the SDK's own error class
 */
export async function askVendor<T>(
  vendor: Vendor & { timeoutMs: number; isVendorError: (error: unknown) => error is VendorError },
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
    if (vendor.isVendorError(error)) return fail(vendorFailure(vendor, error));
    if (isBrokenAnswer(error)) {
      return fail(retryable("unavailable", `${vendor.name}'s answer broke off (${error.name})`));
    }
    throw error;
  }
}

/** A body that ends early is a TypeError of fetch's, one that is no JSON a SyntaxError. */
function isBrokenAnswer(error: unknown): error is Error {
  return error instanceof TypeError || error instanceof SyntaxError;
}

/** What both vendors' `APIError` carries; a connection error has no status. */
export interface VendorError {
  name: string;
  message: string;
  status: number | undefined;
  headers: Headers | undefined;
}

export interface Vendor {
  name: string;
  /** The environment variable that holds its key. */
  keyVariable: string;
}

/**
 * A vendor's error as ours. What may pass is retryable: too many requests, the vendor's own trouble, a connection
 * that was lost. What the request itself brought about is not.
 */
export function vendorFailure(vendor: Vendor, error: VendorError): Failure {
  const { status } = error;
  if (status === undefined) {
    return retryable("unavailable", `${vendor.name} can't be reached (${error.name})`);
  }
  const waitMs = readRetryAfter(error.headers?.get("retry-after"), Date.now());
  if (status === 429) {
    return retryable("rate_limited", `${vendor.name} answered 429, too many requests`, waitMs);
  }
  // The vendor's text is left out: it may repeat part of the key.
  if (status === 401 || status === 403) {
    return terminal(
      "unauthorized",
      `${vendor.name} answered ${status}: the key in ${vendor.keyVariable} is not accepted for this`,
    );
  }
  if (status >= 500 || status === 408 || status === 409) {
    return retryable("unavailable", `${vendor.name} answered ${status}`, waitMs);
  }
  return terminal("model_failed", `${vendor.name} refused the request: ${brief(error.message)}`);
}

function brief(text: string): string {
  return text.length > 500 ? `${text.slice(0, 500)}…` : text;
}
