import { chartText } from "../../machines/chart-text.ts";
import { stepMachine } from "../../machines/step/machine.ts";
import { supervisorMachine } from "../../machines/supervisor/machine.ts";
import type { Command } from "../command.ts";
import { CliError } from "../output/errors.ts";

const machines = { step: stepMachine, supervisor: supervisorMachine };

/** `chart`: what may happen, drawn from the machine itself; with `--json` its definition, as Stately's tools read it. */
export const chart: Command = async ({ invocation, output }) => {
  const name = String(invocation.flags["machine"] ?? "step");
  if (name !== "step" && name !== "supervisor") {
    const known = Object.keys(machines).join(" or ");
    throw new CliError(2, `--machine: expected ${known}, not "${name}"`);
  }
  const machine = machines[name];
  if (output.isJson) output.json(machine.toJSON());
  else for (const line of chartText(machine).split("\n")) output.line(line);
  return 0;
};
