/** No neighbour may make us wait longer than this. */
const longestMs = 60_000;

const seconds = /^\d{1,10}$/;
/** IMF-fixdate, the one date form RFC 9110 lets a server send (section 5.6.7). */
const httpDate =
  /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT$/;

/**
 * How long the server asked us to wait, in milliseconds, bounded at one minute. Read from the
 * `Retry-After` header (seconds or an HTTP date, RFC 9110 10.2.3), else from `retry_after` of the body
 * (seconds, as the reference's 429 has it). A garbled value counts as none.
 *
 * @param now epoch milliseconds, to which an HTTP date is compared
 */
export function readRetryAfter(header: unknown, body: unknown, now: number): number | undefined {
  const asked = fromHeader(header, now) ?? fromBody(body);
  return asked === undefined ? undefined : Math.min(Math.max(Math.ceil(asked), 0), longestMs);
}

function fromHeader(header: unknown, now: number): number | undefined {
  if (typeof header !== "string") return undefined;
  const text = header.trim();
  if (seconds.test(text)) return Number(text) * 1000;
  if (!httpDate.test(text)) return undefined;
  const at = Date.parse(text);
  return Number.isNaN(at) ? undefined : at - now;
}

function fromBody(body: unknown): number | undefined {
  if (typeof body !== "object" || body === null) return undefined;
  if ("error" in body) {
    const inner = fromBody(body.error);
    if (inner !== undefined) return inner;
  }
  const value = "retry_after" in body ? body.retry_after : undefined;
  return typeof value === "number" && Number.isFinite(value) && value >= 0
    ? value * 1000
    : undefined;
}
