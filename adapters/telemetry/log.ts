import colors from "picocolors";
import { type DestinationStream, pino } from "pino";
import type { Log } from "../../machines/contracts/ports/clock.ts";
import { redact } from "./redact.ts";

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
          const safe = [first instanceof Error ? { err: first } : first, ...rest].map((value) =>
            redact(value, hide),
          );
          if (first instanceof Error && rest.length === 0) safe.push(redact(first.message, hide));
          method.apply(this, safe as Parameters<typeof method>);
        },
        ...(pretty === true ? { streamWrite: prettyLine } : {}),
      },
    },
    destination ?? standardError(),
  );
}

/**
 * The lines of one turn of the event loop go to standard error in one write, at its end: a busy worker would else spend
 * more time in the writing than in the lines. A warning or an error is written at once, with what waits before it; so
 * is everything when the process exits.
 */
function standardError(): DestinationStream {
  const destination = pino.destination({ dest: 2, sync: true });
  // A full disk or a closed pipe costs lines, never the process.
  destination.on("error", () => {});
  let waiting = "";
  const flush = () => {
    const lines = waiting;
    waiting = "";
    if (lines !== "") destination.write(lines);
  };
  process.on("exit", flush);
  const perTurn = {
    /** Asks pino to set `lastLevel` before each write. */
    [pino.symbols.needsMetadataGsym]: true,
    lastLevel: 0,
    write(line: string) {
      if (waiting === "") setImmediate(flush);
      waiting += line;
      if (perTurn.lastLevel >= warnLevel) flush();
    },
  };
  return perTurn;
}

/** Of pino. */
const warnLevel = 40;

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
