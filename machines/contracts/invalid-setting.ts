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
