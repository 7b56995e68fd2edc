import colors from "picocolors";

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
