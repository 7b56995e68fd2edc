/** The part of pino that we use. Fields first: `{ runId, stepId }` on every line about a step. */
export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}
