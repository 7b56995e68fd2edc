import { isPassBesideLogin, isSecretKey } from "./secret-names.ts";
import { redactText } from "./screening/secrets.ts";
import { redacted } from "./screening/spans.ts";
import { cutText } from "./text.ts";

const deepest = 12;

/** Of one text, characters: a log is no place for more, and the patterns stay quick. */
const longest = 10_000;

/**
 * A copy without secrets, for a log: what stands under a secret's name is replaced whole, every text goes through
 * {@link redactText}, errors become plain objects. Counts stay: `tokens: 12` is no secret, nor is `token: null`.
 *
 * @param hide sees every text first: a {@link Redactor}'s, which knows this process's own secrets
 */
export function redact(value: unknown, hide: (text: string) => string = (text) => text): unknown {
  return copyOf(value, (text) => redactText(cut(hide(text))));
}

function copyOf(value: unknown, safe: (text: string) => string): unknown {
  return copy(value, 0, [], safe);
}

function copy(
  value: unknown,
  depth: number,
  above: readonly object[],
  safe: (text: string) => string,
): unknown {
  if (typeof value === "string") return safe(value);
  if (typeof value !== "object" || value === null) return value;
  if (above.includes(value)) return "[circular]";
  if (depth >= deepest) return "[too deep]";
  const inside = [...above, value];
  try {
    return copyObject(value, depth, inside, safe);
  } catch {
    // A getter that throws, a proxy that was revoked: what a user's code threw may be anything, and a log line fails nobody.
    return "[can't be read]";
  }
}

function copyObject(
  value: object,
  depth: number,
  inside: readonly object[],
  safe: (text: string) => string,
): unknown {
  if (Array.isArray(value)) return value.map((item) => copy(item, depth + 1, inside, safe));
  if (value instanceof Error) return copy(plainError(value), depth, inside, safe);
  if ("toJSON" in value && typeof value.toJSON === "function") {
    return copy(value.toJSON(), depth + 1, inside, safe);
  }
  if (value instanceof Map || value instanceof Set)
    return copy([...value], depth + 1, inside, safe);
  const entries = Object.entries(value).map(([key, item]): [string, unknown] => [
    safe(key),
    hides(key, item, value) ? redacted : copy(item, depth + 1, inside, safe),
  ]);
  return Object.fromEntries(entries);
}

/** Not longer than a log or a span has place for. */
export function cut(text: string): string {
  const over = text.length - longest;
  return over > 0 ? `${cutText(text, longest)}… (${over} more)` : text;
}

function hides(key: string, item: unknown, object: object): boolean {
  const says = typeof item === "string" || (typeof item === "object" && item !== null);
  return says && (isSecretKey(key) || isPassBesideLogin(key, object));
}

function plainError(error: Error): object {
  const { name, message, stack, cause } = error;
  return { ...error, type: name, message, stack, ...(cause === undefined ? {} : { cause }) };
}
