import { createColors } from "picocolors";
import { plain, safeJson } from "./plain.ts";
import { foldWords, layOut, layOutPairs } from "./table.ts";

type Colors = ReturnType<typeof createColors>;

/** Where a command writes its answer: standard output for the answer, standard error for remarks. */
export interface Output {
  /** Machine-readable output was asked for. */
  readonly isJson: boolean;
  readonly colors: Colors;
  /** The width of the terminal, to which a person's answer is fitted; null to fit it to nothing. */
  readonly columns: number | null;
  /** One line of the answer; what came from outside has been made `plain` by then. */
  line(text: string): void;
  /** A piece of running text from outside, made safe but for its line ends. */
  text(text: string): void;
  /** Sentences for a person, a paragraph a line, folded between words; no commands, which are to be copied whole. */
  prose(text: string): void;
  /** One JSON document, on one line; the whole answer, or one of many in a watch. */
  json(value: unknown): void;
  /** A value from outside as a person reads JSON. */
  document(value: unknown): void;
  /** Headings and rows, fitted to the terminal; cells come from outside and are made safe. */
  table(headings: readonly string[], rows: readonly (readonly string[])[]): void;
  /** Names and values, a pair a line, fitted likewise. */
  pairs(pairs: readonly (readonly [string, string])[]): void;
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
  /** The width to fit tables to; null or left out to wrap nothing. */
  columns?: number | null;
}): Output {
  const { out, remarks, isJson, env, columns = null } = made;
  const isPlain = Boolean(env["NO_COLOR"]) || env["TERM"] === "dumb" || isJson;
  const colors = createColors(out.isTTY === true && !isPlain);
  const line = (text: string) => void out.write(`${text}\n`);
  return {
    isJson,
    colors,
    columns,
    line,
    text: (text) => void out.write(text.split("\n").map(plain).join("\n")),
    prose: (text) =>
      text
        .split("\n")
        .map(plain)
        .flatMap((paragraph) => (columns === null ? [paragraph] : foldWords(paragraph, columns)))
        .forEach(line),
    json: (value) => line(safeJson(value)),
    document: (value) => line(safeJson(value, 2)),
    table(headings, rows) {
      const safe = [headings, ...rows.map((row) => row.map(plain))];
      const bold = (cell: string, row: number) => (row === 0 ? colors.bold(cell) : cell);
      layOut(safe, columns, bold).forEach(line);
    },
    pairs(pairs) {
      const safe = pairs.map(([name, value]) => [name, plain(value)] as const);
      layOutPairs(safe, columns, colors.dim).forEach(line);
    },
    remark: (text) => void remarks.write(`${plain(text)}\n`),
  };
}
