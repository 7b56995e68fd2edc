import type { Told } from "./chronicle.ts";
import type { ExampleStep } from "./plan.ts";

const headings = ["step", "type", "verdict", "ms", "outcome", "path of states"];

/** The run as a table, one line a step. */
export function table(plan: readonly ExampleStep[], told: readonly (Told | null)[]): string {
  const rows = plan.map(({ name, type }, index) => {
    const step = told[index];
    if (step === null || step === undefined) return [name, type, "", "", "never ended", ""];
    const path = step.path.join(" ▶ ");
    return [name, type, step.verdict, step.duration.toFixed(0), step.outcome, path];
  });
  const widths = headings.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => (row[column] ?? "").length)),
  );
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [headings, widths.map((width) => "─".repeat(width)), ...rows].map(line).join("\n");
}
