/** A setting that can't be used. Never carries the value itself: it may be a secret. */
export class InvalidSetting extends Error {
  override readonly name = "InvalidSetting";
  /** The setting's name: `REDIS_URL`. */
  readonly key: string;
  /** Where the value came from: a flag, the environment, a file. */
  readonly source: string;
  readonly expected: string;

  constructor(key: string, source: string, expected: string) {
    super(`${key} (from ${source}): expected ${expected}`);
    this.key = key;
    this.source = source;
    this.expected = expected;
  }
}

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
