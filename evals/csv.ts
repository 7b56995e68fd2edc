/** A row of a CSV file, with the line on which it begins. */
export interface CsvRow {
  line: number;
  cells: string[];
}

/**
 * Reads CSV as RFC 4180 has it: cells in double quotes may hold commas, line ends and doubled quotes. Rows without any
 * text are passed over.
 *
 * @returns the line and what is wrong there, where a quote is never closed or stands amid a cell
 */
export function readCsv(text: string): CsvRow[] | { line: number; problem: string } {
  const rows: CsvRow[] = [];
  let line = 1;
  let row: CsvRow = { line, cells: [] };
  let at = text.startsWith("\uFEFF") ? 1 : 0;
  const endRow = () => {
    if (row.cells.some((cell) => cell !== "")) rows.push(row);
    row = { line, cells: [] };
  };
  while (at < text.length) {
    let cell = "";
    if (text[at] === '"') {
      const begun = line;
      let end = at + 1;
      for (;;) {
        const quote = text.indexOf('"', end);
        if (quote < 0) return { line: begun, problem: "a cell's quote is never closed" };
        cell += text.slice(end, quote);
        end = quote + 1;
        if (text[end] !== '"') break;
        cell += '"';
        end += 1;
      }
      line += cell.split("\n").length - 1;
      at = end;
      if (at < text.length && !/[,\r\n]/u.test(text[at] ?? ""))
        return { line, problem: "expected a comma or the line's end after a closing quote" };
    } else {
      const rest = /[,\r\n]/u.exec(text.slice(at));
      const end = rest === null ? text.length : at + rest.index;
      cell = text.slice(at, end);
      if (cell.includes('"'))
        return { line, problem: "a quote stands amid a cell that does not begin with one" };
      at = end;
    }
    row.cells.push(cell);
    if (text[at] === ",") {
      at += 1;
      if (at === text.length) row.cells.push("");
      continue;
    }
    if (text[at] === "\r" && text[at + 1] === "\n") at += 1;
    if (at < text.length) {
      at += 1;
      line += 1;
    }
    endRow();
  }
  if (row.cells.length > 0) endRow();
  return rows;
}
