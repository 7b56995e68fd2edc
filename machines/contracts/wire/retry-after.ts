/** No neighbour may make us wait longer than this. */
const longestMs = 60_000;

const seconds = /^\d{1,10}$/;
/** IMF-fixdate, the one date form that RFC 9110 lets a server send (section 5.6.7). */
const httpDate =
  /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/;

/**
 * How long a `Retry-After` header (RFC 9110, 10.2.3: seconds or a date) asks us to wait: milliseconds, a minute
 * at most, none for a date gone by. A garbled header counts as none: undefined.
 *
 * @param now epoch milliseconds, to which a date is compared
 */
export function readRetryAfter(
  header: string | string[] | null | undefined,
  now: number,
): number | undefined {
  if (typeof header !== "string") return undefined;
  const text = header.trim();
  if (seconds.test(text)) return Math.min(Number(text) * 1000, longestMs);
  const at = httpDate.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.min(Math.max(at - now, 0), longestMs);
}
