/**
 * Makes a value when it is first asked for. The shapes of what steps and records hold are made so: together they would
 * take a twelfth of a start, in which nothing is checked by them yet.
 */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => (made ??= { value: make() }).value;
}
