import { retryable, terminal } from "../../machines/contracts/failure.ts";
import { fail, ok, type Outcome } from "../../machines/contracts/outcome.ts";
import { type Vendor, type VendorError, vendorFailure } from "./vendor-failure.ts";

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
    if (signal.aborted) return fail(terminal("cancelled", "the model call was called off"));
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
