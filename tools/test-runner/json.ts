/** JSON of a shape that nobody vouches for: a report that a test's own code can write into, a project's file. */
export type Loose = { readonly [key: string]: unknown };

/** The value of a JSON text, or undefined where it is none. Its numbers are counts, lines and times. */
export function readJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** Each line that is a JSON object. */
export function readJsonLines(text: string): Loose[] {
  return text
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map(readJson)
    .filter(isObject);
}

export function isObject(value: unknown): value is Loose {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export const objectOf = (value: unknown): Loose => (isObject(value) ? value : {});

export const objectsOf = (value: unknown): Loose[] =>
  Array.isArray(value) ? value.filter(isObject) : [];

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export const numberOf = (value: unknown): number | null =>
  typeof value === "number" && Number.isFinite(value) ? value : null;

/** A line or a count: a whole number from zero. */
export const countOf = (value: unknown): number | null =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
