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

/** Several settings that can't be used, found together; it is the first of them to whoever looks for one. */
export class InvalidSettings extends InvalidSetting {
  readonly problems: readonly InvalidSetting[];

  constructor(problems: readonly InvalidSetting[]) {
    const [{ key, source, expected } = { key: "", source: "", expected: "" }] = problems;
    super(key, source, expected);
    this.message = problems.map(({ message }) => message).join("; and ");
    this.problems = problems;
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

/**
 * Whose trouble a failure is, which alone decides what is done about it:
 * `passing`: wait with back-off and try the same again (unreachable, READONLY, out of memory, busy);
 * `ours`: the worker stops taking jobs and says so until a person mends it (key refused, disk full, not writable);
 * `step`: no waiting helps, this step's own data can't be kept (a record of the wrong type, JSON too deep).
 */
export type TroubleKind = "passing" | "ours" | "step";

/** What a store's verb rejects with, classified once, at the adapter: see {@link rejectingWith}. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly trouble: TroubleKind;

  constructor(trouble: TroubleKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.trouble = trouble;
  }
}

/** The same verbs, which reject only with what `classify` makes of whatever they rejected with. */
export function rejectingWith<Port extends object>(
  port: Port,
  classify: (error: unknown) => StoreError,
): Port {
  const rejected = (error: unknown): never => {
    throw error instanceof StoreError ? error : classify(error);
  };
  const wrapped = Object.entries(port).map(([name, value]) => {
    if (typeof value !== "function") return [name, value];
    const verb = (...given: unknown[]): Promise<unknown> => {
      try {
        return (Reflect.apply(value, port, given) as Promise<unknown>).then(undefined, rejected);
      } catch (error) {
        return Promise.reject(error).catch(rejected);
      }
    };
    return [name, verb];
  });
  return Object.fromEntries(wrapped) as Port;
}
