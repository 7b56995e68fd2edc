/** Time and jitter, so that a simulator can own both. */
export interface Clock {
  /** Epoch milliseconds. */
  now(): number;
  /** Milliseconds from an arbitrary origin, never stepping back; goes on while the process is stopped. */
  monotonic(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** Calls back once after `ms`; the returned function calls it off. */
  timer(ms: number, callback: () => void): () => void;
}

/** The part of pino that we use. Fields first: `{ runId, stepId }` on every line about a step. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
