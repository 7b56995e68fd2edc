import { createColors } from "picocolors";

type Colors = ReturnType<typeof createColors>;

/** Where a command writes its answer: standard output for the answer, standard error for remarks. */
export interface Output {
  /** Machine-readable output was asked for. */
  readonly isJson: boolean;
  readonly colors: Colors;
  /** One line of the answer; what came from outside has been made `plain` by then. */
  line(text: string): void;
  /** One JSON document, on one line; the whole answer, or one of many in a watch. */
  json(value: unknown): void;
  /** A value from outside as a person reads JSON. */
  document(value: unknown): void;
  /** Headings and rows; cells come from outside and are made safe. */
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void;
  /** For a person who waits; never part of the answer. */
  remark(text: string): void;
}

/** The part of a stream that we use. */
export interface Sink {
  readonly isTTY?: boolean;
  write(text: string): unknown;
}

/** Colours only on a terminal, and only where `NO_COLOR` (no-color.org) and `TERM` allow them. */
export function createOutput(made: {
  out: Sink;
  remarks: Sink;
  isJson: boolean;
  env: Readonly<Record<string, string | undefined>>;
}): Output {
  const { out, remarks, isJson, env } = made;
  const isPlain = Boolean(env["NO_COLOR"]) || env["TERM"] === "dumb" || isJson;
  const colors = createColors(out.isTTY === true && !isPlain);
  const line = (text: string) => void out.write(`${text}\n`);
  return {
    isJson,
    colors,
    line,
    json: (value) => line(safeJson(value)),
    document: (value) => line(safeJson(value, 2)),
    table(headings, rows) {
      const safe = [headings, ...rows.map((row) => row.map(plain))];
      const bold = (cell: string, row: number) => (row === 0 ? colors.bold(cell) : cell);
      table(safe, bold).forEach(line);
    },
    remark: (text) => void remarks.write(`${plain(text)}\n`),
  };
}

/** Text from elsewhere as one line that can do nothing to a terminal: no control characters, no escapes. */
export function plain(text: string): string {
  return text.replaceAll(/[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]+/gu, " ");
}

/**
 * JSON that can do nothing to a terminal: the control characters that `JSON.stringify` leaves as they are, and
 * those that turn the direction of text, are written as escapes.
 */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, null, indent).replaceAll(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

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
