/** The middle one; of an even number the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** By linear interpolation between the closest ranks. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other);
  const rank = (sorted.length - 1) * share;
  const below = sorted[Math.floor(rank)] ?? Number.NaN;
  const above = sorted[Math.ceil(rank)] ?? Number.NaN;
  return below + (above - below) * (rank - Math.floor(rank));
}

export interface MedianInterval {
  median: number;
  low: number;
  high: number;
}

/**
 * The median, and the two of the values between which that of all such values is, with a chance of 95 % at least: as
 * many lie below it as heads fall. Nothing is assumed of how values are distributed.
 */
export function medianInterval(values: readonly number[]): MedianInterval {
  const sorted = values.toSorted((one, other) => one - other);
  const n = sorted.length;
  // The lowest rank above which no more than a fortieth of all throws fall.
  let rank = 0;
  for (let tail = 2 ** -n, term = tail; tail <= 0.025 && rank < n; tail += term) {
    rank += 1;
    term *= (n - rank + 1) / rank;
  }
  const at = Math.max(rank - 1, 0);
  return {
    median: median(values),
    low: sorted[at] ?? Number.NaN,
    high: sorted[n - 1 - at] ?? Number.NaN,
  };
}

/** The median of each named figure over the rounds. */
export function mediansOf<K extends string>(
  rounds: readonly Record<K, number>[],
): Record<K, number> {
  const names = Object.keys(rounds[0] ?? {}) as K[];
  const pairs = names.map((name) => [name, median(rounds.map((round) => round[name]))] as const);
  return Object.fromEntries(pairs) as Record<K, number>;
}

/** Rows under a head, columns as wide as they need to be. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

export const mib = (bytes: number): string => `${(bytes / 1_024 / 1_024).toFixed(0)} MiB`;
