/** `; did you mean "llm"?`, where one of the known names is near. */
export function suggest(name: string, known: readonly string[]): string {
  const most = Math.max(1, Math.floor((name.length + 1) / 3));
  const near = known
    .map((one) => ({ one, far: distance(name.toLowerCase(), one.toLowerCase(), most) }))
    .filter(({ far }) => far <= most)
    .sort((a, b) => a.far - b.far);
  return near[0] === undefined ? "" : `; did you mean "${near[0].one}"?`;
}

/** How many letters to add, drop or change (Levenshtein); more than `most` is not counted to the end. */
function distance(one: string, other: string, most: number): number {
  if (Math.abs(one.length - other.length) > most) return most + 1;
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (const [at, letter] of [...one].entries()) {
    const next = [at + 1];
    for (const [to, against] of [...other].entries()) {
      const change = (row[to] ?? 0) + (letter === against ? 0 : 1);
      next.push(Math.min(change, (row[to + 1] ?? 0) + 1, (next[to] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
