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
 * A tree, with what is said of each branch in columns beside it; below it, where the terminal is too narrow for that,
 * so that it stays a tree.
 */
export function printTree(
  headings: readonly string[],
  tree: Branch,
  { output, columns }: { output: Output; columns: number | null },
): void {
  const rows = rowsOf(tree);
  const widest = Math.max(...layOut([headings, ...rows], null).map(stringWidth));
  if (columns === null || widest <= columns) {
    output.table(headings, rows);
    return;
  }
  for (const { text, isName } of narrow(tree, columns)) {
    output.line(isName ? text : output.colors.dim(text));
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

function narrow(
  { name, said, children }: Branch,
  columns: number,
  before = "",
  mark = "",
): { text: string; isName: boolean }[] {
  const under = before + marksBelow(mark);
  const stem = under + (children.length > 0 ? "│  " : "   ");
  const room = Math.max(leastRoom, columns - stem.length);
  const names = fold(plain(name), Math.max(leastRoom, columns - (before + mark).length));
  const below = said.length === 0 ? [] : fold(plain(said.join(", ")), room);
  return [
    ...names.map((text, at) => ({
      text: `${at === 0 ? before + mark : under}${text}`,
      isName: true,
    })),
    ...below.map((text) => ({ text: stem + text, isName: false })),
    ...children.flatMap((child, at) => narrow(child, columns, under, markOf(at, children.length))),
  ];
}

const markOf = (at: number, count: number) => (at === count - 1 ? "└─ " : "├─ ");

const marksBelow = (mark: string) => (mark === "" ? "" : mark.startsWith("└") ? "   " : "│  ");
