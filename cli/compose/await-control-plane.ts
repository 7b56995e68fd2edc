import { setTimeout as sleep } from "node:timers/promises";
import type { ControlPlaneApi } from "../../adapters/control-plane/api.ts";
import { InvalidSetting } from "../../machines/contracts/domain/errors.ts";
import type { Log } from "../../machines/contracts/ports/clock.ts";

const pauseMs = 1_000;
/** Said at once, and then no more than every so many tries. */
const sayEvery = 15;

/**
 * Waits until the control plane answers and takes our key, so that no job is taken that could not be reported.
 *
 * @param keySource where the key came from, for the error
 * @returns false when cancelled
 * @throws InvalidSetting when the key is refused
 */
export async function awaitControlPlane(
  api: Pick<ControlPlaneApi, "approvals" | "health" | "http">,
  keySource: string,
  log: Log,
  signal: AbortSignal,
): Promise<boolean> {
  for (let tries = 0; !signal.aborted; tries += 1) {
    // Needs a key and no id, and every valid key may.
    const listed = await api.approvals(1, signal);
    // What it can do must be known before the first report: a page of something else at /health is found now.
    const answer = listed.ok ? await api.health(signal) : listed;
    if (!answer.ok && answer.failure.kind === "unauthorized") {
      const expected = `a key that the control plane at ${api.http.url} takes; it refused this one`;
      throw new InvalidSetting("FD_API_KEY", keySource, expected);
    }
    const isThere = answer.ok || !answer.failure.retryable;
    if (isThere) {
      if (tries > 0) log.info({ url: api.http.url }, "the control plane can be reached now");
      return !signal.aborted;
    }
    if (tries % sayEvery === 0) {
      const fields = { url: api.http.url, reason: answer.failure.message };
      log.warn(fields, "the control plane can't be reached; trying again until it can");
    }
    await sleep(answer.failure.retryAfterMs ?? pauseMs, undefined, { signal }).catch(() => {});
  }
  return false;
}
