/**
 * Makes a value when it is first asked for. Shapes are made so, those of what steps and records hold and of settings that
 * few give: together they would take a quarter of a start, in which nothing is checked by them yet.
 */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}
