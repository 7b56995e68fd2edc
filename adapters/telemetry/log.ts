import colors from "picocolors";
import { type DestinationStream, pino } from "pino";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { redact } from "../../machines/contracts/domain/redact.ts";
import { placeIn } from "../../machines/contracts/domain/users-code.ts";
import { standardError } from "./standard-error.ts";

export interface LogOptions {
  level: "debug" | "info" | "warn" | "error" | "silent";
  /** Of the program; on every line. */
  name: string;
  /** Standard error when left out: standard output belongs to the commands' answers. */
  destination?: DestinationStream;
  /** Takes this process's own secrets out of every text; see `createRedactor`. */
  hide?: (text: string) => string;
  /** Writes each error's stack; left out, only that of a fault of ours, since it may not happen twice. */
  stacks?: boolean;
  /** Lines for a person instead of JSON. */
  pretty?: boolean;
}

/**
 * A pino logger that lets no secret through: fields, messages and errors are redacted. Only the port is handed
 * out, because a child's bindings would go past the redaction.
 */
export function createLog(options: LogOptions): Log {
  const { level, name, destination, pretty, hide, stacks = false } = options;
  const hasStacks = stacks || level === "debug";
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
        logMethod(args, method, rank) {
          const [first, ...rest] = args as unknown[];
          const safe = [first instanceof Error ? { err: first } : first, ...rest].map((value) =>
            redact(value, hide),
          );
          if (!hasStacks) safe[0] = withoutStacks(safe[0], rank < faultRank);
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

const faultRank = pino.levels.values["error"] ?? 50;

/** An error as `redact` makes it plain. */
type PlainError = Record<string, unknown> & { stack: string };
const isPlainError = (value: unknown): value is PlainError =>
  typeof value === "object" &&
  value !== null &&
  "stack" in value &&
  typeof value.stack === "string";

/**
 * A line's fields without the stack of an error that somebody can mend: trouble of the system or of a neighbour, of which
 * the words say enough, and what a user's own code threw, of which the place does.
 */
function withoutStacks(fields: unknown, isExpected: boolean): unknown {
  const error =
    typeof fields === "object" && fields !== null && "err" in fields ? fields.err : null;
  if (!isPlainError(error)) return fields;
  const place = placeIn(error.stack, String(error["message"]), process.cwd());
  if (!isExpected && place === null && !isOfTheSystem(error)) return fields;
  return {
    ...(fields as object),
    err: { ...bare(error), ...(place === null ? {} : { at: place }) },
  };
}

const isOfTheSystem = ({ code, cause }: PlainError): boolean =>
  typeof code === "string" || (isPlainError(cause) && isOfTheSystem(cause));

function bare({ stack: _, cause, ...error }: PlainError): object {
  if (cause === undefined) return error;
  return { ...error, cause: isPlainError(cause) ? bare(cause) : cause };
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
