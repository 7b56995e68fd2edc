/** We never wait longer than this because a provider said so. */
const longestMs = 60_000;

/**
 * Reads a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date) as milliseconds from `now`, at most a minute.
 * A value that can't be read, or lies in the past, is no advice: undefined.
 */
export function readRetryAfter(value: string | null | undefined, now: number): number | undefined {
  const text = value?.trim() ?? "";
  const waitMs = /^\d+(?:\.\d+)?$/u.test(text) ? Number(text) * 1000 : dateMs(text) - now;
  return Number.isFinite(waitMs) && waitMs >= 0
    ? Math.min(Math.ceil(waitMs), longestMs)
    : undefined;
}

/** Only dates with a weekday, as HTTP writes them: `Date.parse` reads a date into almost anything. */
function dateMs(text: string): number {
  return /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)/u.test(text) ? Date.parse(text) : Number.NaN;
}
