import { fold } from "../../cli/output/table.ts";
import type { Told } from "./chronicle.ts";
import type { ExampleStep } from "./plan.ts";

const headings = ["step", "type", "verdict", "ms", "outcome"];
const columns = 80;

/** The run as a table that fits a terminal: below each row the reason, where there is one, and the step's states. */
export function table(plan: readonly ExampleStep[], told: readonly (Told | null)[]): string {
  const rows = plan.map(({ name, type }, index) => {
    const step = told[index] ?? null;
    if (step === null) return { cells: [name, type, "", "", "never ended"], below: [] };
    const [outcome = "", ...reason] = step.outcome.split(": ");
    const cells = [name, type, step.verdict, step.duration.toFixed(0), outcome];
    const below = [...(reason.length > 0 ? [reason.join(": ")] : []), states(step.path)];
    return { cells, below };
  });
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map(({ cells }) => (cells[column] ?? "").length)),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  const lines = rows.flatMap(({ cells, below }) => [
    line(cells),
    ...below.flatMap((text) => fold(text, columns - 4).map((part) => `    ${part}`)),
  ]);
  return [line(headings), line(widths.map((width) => "─".repeat(width))), ...lines]
    .join("\n")
    .replaceAll("\u00a0", " ");
}

/** A state stays on a line with the arrow before it: `fold` breaks at plain spaces alone. */
const states = (path: readonly string[]) =>
  path.map((state, at) => (at === 0 ? state : `▶\u00a0${state}`)).join(" ");
