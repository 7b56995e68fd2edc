import colors from "picocolors";
import { type DestinationStream, pino } from "pino";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { redact } from "../../machines/contracts/domain/redact.ts";
import { standardError } from "./standard-error.ts";

export interface LogOptions {
  level: "debug" | "info" | "warn" | "error" | "silent";
  /** Of the program; on every line. */
  name: string;
  /** Standard error when left out: standard output belongs to the commands' answers. */
  destination?: DestinationStream;
  /** Takes this process's own secrets out of every text; see `createRedactor`. */
  hide?: (text: string) => string;
  /** Lines for a person instead of JSON. */
  pretty?: boolean;
}

/**
 * A pino logger that lets no secret through: fields, messages and errors are redacted. Only the port is handed
 * out, because a child's bindings would go past the redaction.
 */
export function createLog({ level, name, destination, pretty, hide }: LogOptions): Log {
  const log = pino(
    {
      level,
      name,
      timestamp: isoTime,
      formatters: {
        level: (label) => ({ level: label }),
      },
      // Errors are made plain before they come here.
      serializers: { err: (value: unknown) => value },
      hooks: {
        logMethod(args, method) {
          const [first, ...rest] = args as unknown[];
          const safe = [first instanceof Error ? { err: first } : first, ...rest].map((value) =>
            redact(value, hide),
          );
          if (first instanceof Error && rest.length === 0) safe.push(redact(first.message, hide));
          method.apply(this, safe as Parameters<typeof method>);
        },
        ...(pretty === true ? { streamWrite: prettyLine } : {}),
      },
    },
    destination ??
      standardError((dropped) => {
        const text = `${dropped} lines of this log were dropped: whoever reads it, or its disk, took no more`;
        log.warn({ dropped }, text);
      }),
  );
  return log;
}

/** A busy worker writes several lines a millisecond. */
let lastTime = { at: 0, text: "" };
function isoTime(): string {
  const at = Date.now();
  if (at !== lastTime.at) lastTime = { at, text: `,"time":"${new Date(at).toISOString()}"` };
  return lastTime.text;
}

const paint: Record<string, (text: string) => string> = {
  debug: colors.dim,
  warn: colors.yellow,
  error: colors.red,
};

/** The same on every line of a process. */
const constant = new Set(["name", "pid", "hostname"]);

/** One JSON line of the log as a person reads it: time, level, message, then the fields. */
export function prettyLine(line: string): string {
  const { time, level, msg, ...others } = JSON.parse(line) as Record<string, unknown>;
  const fields = Object.entries(others).filter(([key]) => !constant.has(key));
  const label = String(level).padEnd(5);
  const rest = fields.map(([key, value]) => ` ${colors.dim(`${key}=`)}${show(value)}`);
  const clock = colors.dim(String(time).slice(11, 23));
  return `${clock} ${(paint[String(level)] ?? String)(label)} ${String(msg ?? "")}${rest.join("")}\n`;
}

function show(value: unknown): string {
  return typeof value === "string" && /^[^\s"]+$/u.test(value) ? value : JSON.stringify(value);
}
