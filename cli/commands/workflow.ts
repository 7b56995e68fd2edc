import { isUtf8 } from "node:buffer";
import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { buffer } from "node:stream/consumers";
import type { PlacedProblem } from "../../adapters/workflows/read.ts";
import type { Json } from "../../machines/contracts/domain/json.ts";
import { countSteps } from "../../machines/contracts/domain/workflow-graph.ts";
import type { WorkflowDefinition } from "../../machines/contracts/domain/workflow.ts";
import { workflowMermaid, workflowRows } from "../../machines/workflow/graph.ts";
import type { Command, Context } from "../command.ts";
import { CliError, printError } from "../output/errors.ts";
import { graphText } from "../output/graph-text.ts";

/** `workflow validate FILE`: what is wrong in a definition, each with its line and column. */
export const validateWorkflow: Command = async (context) => {
  const { output } = context;
  const definition = await readDefinition(context);
  if (definition === null) return 2;
  const { id, version = "1.0.0" } = definition;
  const all = [definition, ...(definition.workflows ?? [])];
  const steps = all.reduce((sum, one) => sum + countSteps(one as unknown as Json), 0);
  if (output.isJson) output.json({ valid: true, id, version, steps, problems: [] });
  else output.text(`${id} ${version} is valid: ${steps} ${steps === 1 ? "step" : "steps"}\n`);
  return 0;
};

/** `workflow graph FILE`: the steps and what they wait for. */
export const drawWorkflow: Command = async (context) => {
  const { invocation, output } = context;
  const { format = "text" } = invocation.flags;
  if (format !== "text" && format !== "mermaid") {
    throw new CliError(2, `--format: expected mermaid or text, not "${format}"`);
  }
  const definition = await readDefinition(context);
  if (definition === null) return 2;
  // What a program reads is not folded for a terminal.
  const columns = output.isJson ? null : output.columns;
  const drawn =
    format === "mermaid"
      ? workflowMermaid(definition)
      : graphText(workflowRows(definition), columns);
  if (output.isJson) output.json({ id: definition.id, format, graph: drawn });
  else output.text(`${drawn}\n`);
  return 0;
};

/** The definition in the file that was named; null when problems were printed. */
export async function readDefinition({
  invocation,
  folder,
  output,
}: Context): Promise<WorkflowDefinition | null> {
  const file = invocation.args[0] ?? "";
  const from = file === "-" ? "standard input" : file;
  const { readWorkflow } = await import("../../adapters/workflows/read.ts");
  const content = file === "-" ? buffer(process.stdin) : readFile(resolve(folder, file));
  const bytes = await content.catch((error: NodeJS.ErrnoException) => {
    const why = error.code === "ENOENT" ? "no such file" : `can't be read (${error.code})`;
    throw new CliError(2, `${from}: ${why}`);
  });
  if (!isUtf8(bytes)) throw new CliError(2, `${from}: expected UTF-8`);
  const read = readWorkflow(new TextDecoder().decode(bytes));
  if (read.ok) return read.definition;
  if (output.isJson) output.json({ valid: false, file: from, problems: read.problems });
  else for (const problem of read.problems) printError(sentence(from, problem));
  return null;
}

/** As compilers say it, so that editors find the place. */
const sentence = (file: string, { line, column, where, problem }: PlacedProblem) =>
  `${file}:${line}:${column}: ${where === "" ? "" : `${where}: `}${problem}`;
