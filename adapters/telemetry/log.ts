import { type DestinationStream, pino } from "pino";
import type { Log } from "../../machines/contracts/ports/log.ts";
import { prettyLine } from "./pretty-line.ts";
import { redact } from "./redact.ts";

export interface LogOptions {
  level: "debug" | "info" | "warn" | "error" | "silent";
  /** Of the program; on every line. */
  name: string;
  /** Standard error when left out: standard output belongs to the commands' answers. */
  destination?: DestinationStream;
  /** Lines for a person instead of JSON. */
  pretty?: boolean;
}

/**
 * A pino logger that lets no secret through: fields, messages and errors are redacted. Only the port is handed
 * out, because a child's bindings would go past the redaction.
 */
export function createLog({ level, name, destination, pretty }: LogOptions): Log {
  return pino(
    {
      level,
      name,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: {
        level: (label) => ({ level: label }),
      },
      // Errors are made plain before they come here.
      serializers: { err: (value: unknown) => value },
      hooks: {
        logMethod(args, method) {
          const [first, ...rest] = args as unknown[];
          const safe = [first instanceof Error ? { err: first } : first, ...rest].map(redact);
          if (first instanceof Error && rest.length === 0) safe.push(redact(first.message));
          method.apply(this, safe as Parameters<typeof method>);
        },
        ...(pretty === true ? { streamWrite: prettyLine } : {}),
      },
    },
    destination ?? pino.destination({ dest: 2, sync: true }),
  );
}
