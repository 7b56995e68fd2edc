/** Epoch milliseconds as the wire has times (wire contract 1.2). */
export function rfc3339<T extends number | null>(ms: T): T extends null ? string | null : string;
export function rfc3339(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
