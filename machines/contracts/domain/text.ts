import type { Json, JsonObject } from "./json.ts";

/**
 * Text from outside may hold half of a surrogate pair or U+0000. Strict readers refuse both: JSON parsers of other
 * languages the first, databases the second. What we keep and send holds neither; U+FFFD stands where they stood.
 */
export function wellFormedText(text: string): string {
  return text.includes("\0") ? text.toWellFormed().replaceAll("\0", "\uFFFD") : text.toWellFormed();
}

/**
 * The first characters of a text, well-formed; a character that needs two UTF-16 units is kept whole or left out.
 *
 * @param maxCharacters - UTF-16 units, as `length` counts them
 */
export function cutText(text: string, maxCharacters: number): string {
  if (text.length <= maxCharacters) return wellFormedText(text);
  const splitsPair = (text.codePointAt(maxCharacters - 1) ?? 0) > 0xffff;
  return wellFormedText(text.slice(0, splitsPair ? maxCharacters - 1 : maxCharacters));
}

/**
 * A JSON value with all its texts, keys included, made well-formed. The very same value when all of them are so
 * already. Of two keys that become one, the later value is kept. Walks without recursion: depth costs no stack.
 */
export function wellFormed<T>(value: T): T {
  return isWellFormed(value) ? value : (rebuild(value as Json) as T);
}

function isWellFormedText(text: string): boolean {
  return text.isWellFormed() && !text.includes("\0");
}

function isWellFormed(value: unknown): boolean {
  const waiting: unknown[] = [value];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (typeof item === "string" && !isWellFormedText(item)) return false;
    if (typeof item !== "object" || item === null) continue;
    if (Array.isArray(item)) {
      for (const part of item) waiting.push(part);
      continue;
    }
    for (const key of Object.keys(item)) {
      if (!isWellFormedText(key)) return false;
      waiting.push((item as Record<string, unknown>)[key]);
    }
  }
  return true;
}

function rebuild(value: Json): Json {
  const result: { value: Json } = { value };
  const waiting: { holder: Json[] | JsonObject; key: string | number }[] = [
    { holder: result, key: "value" },
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { holder, key } = next as { holder: JsonObject; key: string };
    const item = holder[key];
    if (typeof item === "string") put(holder, key, wellFormedText(item));
    if (typeof item !== "object" || item === null) continue;
    const copy: Json[] | JsonObject = Array.isArray(item) ? [] : {};
    for (const [name, part] of Object.entries(item)) put(copy, wellFormedText(name), part as Json);
    for (const name of Object.keys(copy)) waiting.push({ holder: copy, key: name });
    put(holder, key, copy);
  }
  return result.value;
}

/** Defines instead of assigning: a key `__proto__` must stay a key. */
function put(holder: Json[] | JsonObject, key: string, value: Json): void {
  Object.defineProperty(holder, key, {
    value,
    enumerable: true,
    writable: true,
    configurable: true,
  });
}
