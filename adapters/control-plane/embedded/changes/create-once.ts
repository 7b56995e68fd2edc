import { createHash } from "node:crypto";
import type { Run } from "../documents.ts";
import { ApiError } from "../routes/request.ts";
import type { Change } from "./change.ts";
import { createRun, type RunRequest } from "./create-run.ts";

/**
 * A run under its caller's idempotency key: whoever did not hear the answer asks again, and gets the run that there is,
 * as it stands by now. Keys of two callers are two keys. A key stands for one request as long as its run is kept.
 *
 * @param key null for a run of its own each time
 * @throws ApiError 422 for a key that came with another request; what {@link createRun} throws
 */
export function createRunOnce(
  change: Change,
  request: RunRequest,
  key: string | null,
): { run: Run; isNew: boolean } {
  if (key === null) return { run: createRun(change, request), isNew: true };
  const requestKey = JSON.stringify([change.by, key]);
  const requestDigest = digestOf(request);
  const known = change.store.runs.findByRequest(requestKey);
  if (known === undefined) {
    const run = createRun(change, request);
    return { run: change.saveRun({ ...run, requestKey, requestDigest }), isNew: true };
  }
  if (known.requestDigest === requestDigest) return { run: known, isNew: false };
  const message = `Idempotency-Key: it stands for another request, which made run ${known.id}; expected a new key for a new request`;
  throw new ApiError(422, message, "IDEMPOTENCY_KEY_REUSED");
}

/** Of what is asked for; the trace of who asks is another one each time. */
function digestOf({ agent, version, input, config, steps }: RunRequest): string {
  const asked = JSON.stringify([agent, version, input, config, steps]);
  return createHash("sha256").update(asked).digest("hex");
}
