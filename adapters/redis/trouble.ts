import { StoreError, type TroubleKind } from "../../machines/contracts/domain/errors.ts";

/**
 * Whose trouble a Redis error is, by its code: the first word of the reply. What is not listed passes: a broken
 * connection, a time-out, READONLY, LOADING, MASTERDOWN, CLUSTERDOWN, BUSY, TRYAGAIN, OOM, or a code we never saw.
 */
const troubles: Readonly<Record<string, TroubleKind>> = {
  NOAUTH: "ours",
  WRONGPASS: "ours",
  NOPERM: "ours",
  // A disk that is full, or not writable.
  MISCONF: "ours",
  WRONGTYPE: "step",
  // Of our own scripts: a record's field that can't be what it is.
  CORRUPT: "step",
};

/**
 * What one step's move met inside a script that the server was well enough to run, together with those of others. An
 * error without a code of its own (`ERR`, or Lua's) is then of that step's data: trying again would meet it again.
 */
export class MoveError extends Error {}

/** Replies that a new connection mends: this one leads to a server that is no longer, or not yet, the right one. */
const mendedByReconnecting = new Set(["READONLY", "LOADING", "MASTERDOWN"]);

export function isMendedByReconnecting(error: unknown): boolean {
  return mendedByReconnecting.has(codeOf(error) ?? "");
}

/**
 * Makes a {@link StoreError} of whatever a verb threw.
 *
 * @param about whose data the verb touches: a record of the wrong type is that step's trouble, a stream of the wrong
 *   type is ours
 */
export function toStoreError(error: unknown, about: "queue" | "step"): StoreError {
  const message = messageOf(error);
  const code = codeOf(error);
  const isOfData = error instanceof MoveError && (code === null || code === "ERR");
  const trouble = isOfData || isUnserialisable(error) ? "step" : troubles[code ?? ""];
  if (trouble === "step" && about === "queue") return new StoreError("ours", message, error);
  return new StoreError(trouble ?? "passing", message, error);
}

function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  try {
    return String(error);
  } catch {
    return "something was thrown that has no text";
  }
}

/** What `JSON.stringify` and buffers throw at values that no store can keep: cycles, depth, length. */
function isUnserialisable(error: unknown): boolean {
  return error instanceof RangeError || (error instanceof TypeError && !("code" in error));
}

/** `READONLY`; also where Redis 6.2 hides it in the error of the script that met it. */
export function codeOf(error: unknown): string | null {
  if (!(error instanceof Error)) return null;
  const inScript = /@user_script:\s?\d+: -?([A-Z]{2,}) /.exec(error.message);
  return inScript?.[1] ?? /^-?([A-Z]{2,})\b/.exec(error.message)?.[1] ?? null;
}
