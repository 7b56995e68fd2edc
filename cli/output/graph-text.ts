import stringWidth from "string-width";
import type { GraphRow } from "../../machines/workflow/graph.ts";
import { fold } from "./table.ts";

/** The least room beside name and type for what is said of a step; with less, or for a longer word, it stands below. */
const leastRoom = 20;

/** Rows as lines, what is said of a step folded beside it, or below it where the terminal is narrow. */
export function graphText(rows: readonly GraphRow[], columns: number | null): string {
  const steps = rows.filter(([, type]) => type !== "");
  const widest = (column: 0 | 1) => Math.max(0, ...steps.map((row) => stringWidth(row[column])));
  const [names, types] = [widest(0), widest(1)];
  const room = columns === null ? Number.POSITIVE_INFINITY : columns - names - types - 4;
  const longest = Math.max(...steps.flatMap(([, , said]) => said.split(" ").map(stringWidth)));
  const isBeside = room >= Math.max(leastRoom, longest);
  const lines = rows.flatMap(([name, type, said]) => {
    if (type === "") return foldedUnder(name, columns);
    if (isBeside) {
      const head = `${padded(name, names)}  ${padded(type, types)}  `;
      const [first = "", ...more] = fold(said, room);
      return [head + first, ...more.map((line) => " ".repeat(names + types + 4) + line)];
    }
    const indent = " ".repeat(name.length - name.trimStart().length + 4);
    const below = said === "" ? [] : foldedUnder(indent + said, columns);
    return [...foldedUnder(`${name}  ${type}`, columns), ...below];
  });
  return lines.map((line) => line.trimEnd()).join("\n");
}

const padded = (text: string, width: number) =>
  text + " ".repeat(Math.max(0, width - stringWidth(text)));

/** Each of its lines as far to the right as the first. */
function foldedUnder(text: string, columns: number | null): string[] {
  const words = text.trimStart();
  const indent = " ".repeat(text.length - words.length);
  const room = columns === null ? Number.POSITIVE_INFINITY : Math.max(8, columns - indent.length);
  return fold(words, room).map((line) => indent + line);
}
