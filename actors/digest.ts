import { createHash } from "node:crypto";
import { stringify } from "safe-stable-stringify";

/** Hex SHA-256 of a value's canonical JSON (keys sorted), so that equal values have equal digests. */
export function digest(value: unknown): string {
  return createHash("sha256")
    .update(stringify(value) ?? "null")
    .digest("hex");
}
