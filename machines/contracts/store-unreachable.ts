/** The store can't be used: nobody listens, it refuses us, or it is too old. Thrown at start only. */
export class StoreUnreachable extends Error {
  override readonly name = "StoreUnreachable";
  /** What was tried, without a password: `REDIS_URL redis://127.0.0.1:6379`. */
  readonly what: string;
  /** What came back: `ECONNREFUSED`, or the server's own words. */
  readonly reason: string;

  constructor(what: string, reason: string) {
    super(`${what}: ${reason}`);
    this.what = what;
    this.reason = reason;
  }
}
