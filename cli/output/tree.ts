import stringWidth from "string-width";
import type { Output } from "./output.ts";
import { plain } from "./plain.ts";
import { fold, layOut } from "./table.ts";

/** A piece of what is drawn as a tree. */
export interface Branch {
  name: string;
  /** What is said of it, a cell a column. */
  cells: readonly string[];
  /** The same for who sees no headings, without what is not known. */
  said: readonly string[];
  children: readonly Branch[];
}

/**
 * A tree, with what is said of each branch in columns beside it; where the terminal is too narrow for columns it follows
 * the name, or stands below it, so that the tree stays one.
 */
export function printTree(headings: readonly string[], tree: Branch, output: Output): void {
  const { columns } = output;
  const rows = rowsOf(tree);
  const widest = Math.max(...layOut([headings, ...rows], null).map(stringWidth));
  if (columns === null || widest <= columns) {
    output.table(headings, rows);
    return;
  }
  for (const { text, about } of narrow(tree, columns)) {
    output.line(about === "" ? text : text + output.colors.dim(about));
  }
}

function rowsOf({ name, cells, children }: Branch, before = "", mark = ""): string[][] {
  const under = before + marksBelow(mark);
  return [
    [`${before}${mark}${plain(name)}`, ...cells.map(plain)],
    ...children.flatMap((child, at) => rowsOf(child, under, markOf(at, children.length))),
  ];
}

/** The least room for a name, however deep it stands. */
const leastRoom = 12;

function narrow({ name, said, children }: Branch, columns: number, before = "", mark = ""): Line[] {
  const under = before + marksBelow(mark);
  const stem = under + (children.length > 0 ? "│  " : "   ");
  const [first = "", ...more] = fold(plain(name), roomAfter(before + mark, columns));
  const about = plain(said.join(", "));
  const head = { text: `${before}${mark}${first}`, about: "" };
  const isOneLine = more.length === 0 && stringWidth(`${head.text}  ${about}`) <= columns;
  const below = isOneLine || about === "" ? [] : fold(about, roomAfter(stem, columns));
  return [
    isOneLine && about !== "" ? { ...head, about: `  ${about}` } : head,
    ...more.map((text) => ({ text: `${under}${text}`, about: "" })),
    ...below.map((line) => ({ text: stem, about: line })),
    ...children.flatMap((child, at) => narrow(child, columns, under, markOf(at, children.length))),
  ];
}

/** A line, and what is said in it of its branch. */
interface Line {
  text: string;
  about: string;
}

const roomAfter = (text: string, columns: number) => Math.max(leastRoom, columns - text.length);

const markOf = (at: number, count: number) => (at === count - 1 ? "└─ " : "├─ ");

const marksBelow = (mark: string) => (mark === "" ? "" : mark.startsWith("└") ? "   " : "│  ");
