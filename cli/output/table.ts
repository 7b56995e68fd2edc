/**
 * Columns of one width, two spaces apart. The last column is as long as it is.
 *
 * @param paint for a cell, after its width is known
 */
export function table(
  rows: readonly (readonly string[])[],
  paint: (cell: string, row: number, column: number) => string = (cell) => cell,
): string[] {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((cells, row) =>
    cells
      .map((cell, column) => {
        const isLast = column === cells.length - 1;
        const padding = isLast ? "" : " ".repeat((widths[column] ?? 0) - cell.length);
        return paint(cell, row, column) + padding;
      })
      .join("  ")
      .trimEnd(),
  );
}
