import { redactText, redacted } from "./redact-text.ts";
import { isSecretKey } from "./secret-key.ts";

const deepest = 12;

/** Of one text, characters: a log is no place for more, and the patterns stay quick. */
const longest = 10_000;

/**
 * A copy without secrets, for a log: what stands under a secret's name is replaced whole, every text goes through
 * {@link redactText}, errors become plain objects. Counts stay: `tokens: 12` is no secret, nor is `token: null`.
 */
export function redact(value: unknown): unknown {
  return copy(value, 0, []);
}

function copy(value: unknown, depth: number, above: readonly object[]): unknown {
  if (typeof value === "string") return redactText(cut(value));
  if (typeof value !== "object" || value === null) return value;
  if (above.includes(value)) return "[circular]";
  if (depth >= deepest) return "[too deep]";
  const inside = [...above, value];
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, inside));
  if (value instanceof Error) return copy(plainError(value), depth, inside);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copy(value.toJSON(), depth + 1, inside);
  }
  if (value instanceof Map || value instanceof Set) return copy([...value], depth + 1, inside);
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [
    redactText(key),
    hides(key, item) ? redacted : copy(item, depth + 1, inside),
  ]);
  return Object.fromEntries(entries);
}

function cut(text: string): string {
  const over = text.length - longest;
  return over > 0 ? `${text.slice(0, longest)}… (${over} more)` : text;
}

function hides(key: string, item: unknown): boolean {
  const says = typeof item === "string" || (typeof item === "object" && item !== null);
  return says && isSecretKey(key);
}

function plainError(error: Error): object {
  const { name, message, stack, cause } = error;
  return { ...error, type: name, message, stack, ...(cause === undefined ? {} : { cause }) };
}
