/** The name of the top-level state in a snapshot's value. */
export function topLevel(value: string | object): string | undefined {
  return typeof value === "string" ? value : Object.keys(value)[0];
}
