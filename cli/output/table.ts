import Table from "cli-table3";
import stringWidth from "string-width";

const gap = 2;
/** Made when something is cut first: it reads a good part of ICU's data. */
let segmenter: Intl.Segmenter | null = null;

/**
 * Rows in columns of one width, two spaces apart; characters of East Asian scripts take two columns, as terminals
 * give them. Where the terminal is too narrow, cells are wrapped between words; where even that is not enough (an id
 * would have to be broken, and could not be copied any more), each row becomes a list of its cells.
 *
 * @param rows the headings first
 * @param columns of the terminal; null to wrap nothing
 * @param paint for a line of a cell, after its width is known
 */
export function layOut(
  rows: readonly (readonly string[])[],
  columns: number | null,
  paint: (text: string, row: number, column: number) => string = (text) => text,
): string[] {
  const natural = widths(rows, stringWidth);
  if (columns === null || total(natural) <= columns) return draw(rows, natural, paint);
  const least = widths(rows, longestWord);
  if (total(least) > columns) return asLists(rows, columns, paint);
  return draw(rows, shrink(natural, least, columns), paint);
}

/**
 * Names, and beside each what is said of it, wrapped between words where the terminal is narrow. An id or a digest that
 * has no room there stands below its name, whole: it could not be copied otherwise.
 *
 * @param columns of the terminal; null to wrap nothing
 * @param paint for a name, after its width is known
 */
export function layOutPairs(
  pairs: readonly (readonly [name: string, said: string])[],
  columns: number | null,
  paint: (name: string) => string = (name) => name,
): string[] {
  const width = Math.max(0, ...pairs.map(([name]) => stringWidth(name))) + gap;
  const all = columns ?? Number.POSITIVE_INFINITY;
  return pairs.flatMap(([name, said]) => {
    const beside = longestWord(said) <= all - width;
    const room = all - (beside ? width : gap);
    const lines = longestWord(said) <= room ? fold(said, room) : foldWords(said, room);
    const head = paint(name) + " ".repeat(width - stringWidth(name));
    if (!beside) return [head.trimEnd(), ...lines.map((line) => " ".repeat(gap) + line)];
    const [first = "", ...more] = lines;
    return [(head + first).trimEnd(), ...more.map((line) => " ".repeat(width) + line)];
  });
}

function widths(rows: readonly (readonly string[])[], measure: (cell: string) => number): number[] {
  const most: number[] = [];
  for (const row of rows) {
    row.forEach((cell, at) => (most[at] = Math.max(most[at] ?? 0, measure(cell))));
  }
  return most;
}

const longestWord = (cell: string) => Math.max(0, ...cell.split(" ").map(wordWidth));

/** Text of scripts without spaces may be broken anywhere. */
const wordWidth = (word: string) =>
  stringWidth(word) === [...word].length ? stringWidth(word) : Math.min(8, stringWidth(word));

const total = (all: readonly number[]) =>
  all.reduce((sum, width) => sum + width, gap * (all.length - 1));

/** Takes from the widest column first. */
function shrink(natural: readonly number[], least: readonly number[], columns: number): number[] {
  const chosen = [...natural];
  for (let over = total(chosen) - columns; over > 0; over -= 1) {
    const spare = chosen.map((width, at) => (width > (least[at] ?? 0) ? width : 0));
    const widest = spare.indexOf(Math.max(...spare));
    chosen[widest] = (chosen[widest] ?? 0) - 1;
  }
  return chosen;
}

function asLists(
  [headings = [], ...rows]: readonly (readonly string[])[],
  columns: number,
  paint: (text: string, row: number, column: number) => string,
): string[] {
  const label = Math.max(0, ...headings.map(stringWidth));
  const room = Math.max(8, columns - label - gap);
  return rows.flatMap((row, at) => {
    const cells = row.map((cell, column) => [headings[column] ?? "", cell]);
    const lines = draw(cells, [label, room], (text, cell, column) =>
      column === 0 ? paint(text, 0, cell) : paint(text, at + 1, cell),
    );
    return at === 0 ? lines : ["", ...lines];
  });
}

function draw(
  rows: readonly (readonly string[])[],
  colWidths: readonly number[],
  paint: (text: string, row: number, column: number) => string,
): string[] {
  const table = new Table({
    chars: { ...bare, middle: " ".repeat(gap) },
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [] },
    // A column of no width at all is drawn as one of its content's.
    colWidths: colWidths.map((width) => Math.max(1, width)),
  });
  rows.forEach((row, at) => {
    table.push(
      row.map((cell, column) =>
        fold(cell, colWidths[column] ?? 0)
          .map((line) => paint(line, at, column))
          .join("\n"),
      ),
    );
  });
  const drawn = table.toString();
  return drawn === "" ? [] : drawn.split("\n").map((line) => line.trimEnd());
}

const bare = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
} as const;

/** Lines of at most `width` columns, broken between words where there are any. */
export function fold(text: string, width: number): string[] {
  return foldWords(text, width).flatMap((line) =>
    stringWidth(line) <= width ? [line] : broken(line, width),
  );
}

/**
 * Heads, all of one width, each with what is said of it folded beside it; where the terminal leaves no room for a word
 * there, it stands below.
 */
export function foldBeside(
  rows: readonly (readonly [head: string, said: string])[],
  columns: number | null,
): string[] {
  return rows.flatMap(([head, said]) => {
    const width = stringWidth(head) + gap;
    const room = (columns ?? Number.POSITIVE_INFINITY) - width;
    const isBeside = room >= Math.max(...rows.map(([, text]) => longestWord(text)));
    if (!isBeside)
      return [head.trimEnd(), ...foldWords(said, (columns ?? 0) - 4).map((line) => `    ${line}`)];
    const [first = "", ...more] = foldWords(said, room);
    return [`${head}${" ".repeat(gap)}${first}`, ...more.map((line) => " ".repeat(width) + line)];
  });
}

/** Broken between words alone: a digest or a path that is wider stays whole, so that it can be copied. */
export function foldWords(text: string, width: number): string[] {
  if (stringWidth(text) <= width) return [text];
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (line === "" || stringWidth(longer) <= width) {
      line = longer;
      continue;
    }
    lines.push(line);
    line = word;
  }
  return line === "" ? lines : [...lines, line];
}

function broken(word: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  segmenter ??= new Intl.Segmenter();
  for (const { segment } of segmenter.segment(word)) {
    if (line !== "" && stringWidth(line + segment) > width) {
      lines.push(line);
      line = "";
    }
    line += segment;
  }
  return [...lines, line];
}
