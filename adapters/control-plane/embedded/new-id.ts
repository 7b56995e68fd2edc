import { monotonicFactory } from "ulid";

const next = monotonicFactory();

/** `<prefix>_<ULID>` (wire contract 1.2); later ids sort after earlier ones of this process. */
export function newId(
  prefix: "agt" | "agv" | "tol" | "run" | "stp" | "pdc" | "apr" | "aud" | "req",
  now: number,
): string {
  return `${prefix}_${next(now)}`;
}
