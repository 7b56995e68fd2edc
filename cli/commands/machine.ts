import type { AnyStateMachine } from "xstate";
import type { Command, Context } from "../command.ts";
import { CliError } from "../output/errors.ts";
import { foldBeside } from "../output/table.ts";
import { nearest } from "../../machines/contracts/domain/nearest.ts";

interface Shown {
  machine: AnyStateMachine;
  /** One sentence for the list. */
  about: string;
}

async function machines(): Promise<Record<string, Shown>> {
  const [{ stepMachine }, { supervisorMachine }, { agentLoopMachine }, { workflowMachine }] =
    await Promise.all([
      import("../../machines/step/machine.ts"),
      import("../../machines/supervisor/machine.ts"),
      import("../../machines/agent-loop/machine.ts"),
      import("../../machines/workflow/machine.ts"),
    ]);
  const shown = (machine: object, about: string): Shown => ({
    machine: machine as AnyStateMachine,
    about,
  });
  return {
    step: shown(stepMachine, "one step, from its job to its report"),
    "agent-loop": shown(
      agentLoopMachine,
      "a model and the tools that it calls, within an llm step",
    ),
    workflow: shown(workflowMachine, "a workflow's run, made of steps"),
    supervisor: shown(supervisorMachine, "a worker: takes jobs, drains, stops"),
  };
}

/** `machine list`: the machines that run here, with how many states each has. */
export const listMachines: Command = async ({ output }) => {
  const rows = Object.entries(await machines()).map(([name, { machine, about }]) => ({
    name,
    states: statesOf(machine),
    about,
  }));
  if (output.isJson) output.json(rows);
  else {
    output.table(
      ["MACHINE", "STATES", "WHAT IT IS"],
      rows.map(({ name, states, about }) => [name, String(states), about]),
    );
  }
  return 0;
};

/** `machine show`: what may happen, drawn from the machine itself. */
export const showMachine: Command = async (context) => {
  const { machine } = await named(context);
  const { output } = context;
  const { chartRows } = await import("../../machines/chart-text.ts");
  if (output.isJson) output.json(machine.toJSON());
  else {
    const { rows, ends } = chartRows(machine);
    foldBeside(rows, output.columns).forEach(output.line);
    output.prose(ends);
  }
  return 0;
};

/** `machine export`: the machine in the format of another tool. */
export const exportMachine: Command = async (context) => {
  const { machine } = await named(context);
  const asked = String(context.invocation.flags["format"] ?? "json");
  if (asked === "svg") {
    // With its drawing, which takes longer to load than all the others.
    const { chartSvg } = await import("../../adapters/console/chart-svg.ts");
    for (const line of chartSvg(machine.definition).split("\n")) context.output.line(line);
    return 0;
  }
  const { chartFormats, exportChart } = await import("../../machines/chart-export.ts");
  const format = chartFormats.find((known) => known === asked);
  if (format === undefined) {
    throw new CliError(
      2,
      `--format: expected ${[...chartFormats, "svg"].join(", ")}, not "${asked}"`,
    );
  }
  for (const line of exportChart(machine, format).split("\n")) context.output.line(line);
  return 0;
};

async function named({ invocation }: Context): Promise<Shown> {
  const [name = "step"] = invocation.args;
  const known = await machines();
  const found = Object.hasOwn(known, name) ? known[name] : undefined;
  if (found !== undefined) return found;
  const meant = nearest(name, Object.keys(known));
  const hint =
    meant === null ? `expected one of ${Object.keys(known).join(", ")}` : `did you mean ${meant}?`;
  throw new CliError(2, `there is no machine "${name}"; ${hint}`);
}

function statesOf(machine: AnyStateMachine): number {
  const count = (states: AnyStateMachine["root"]["states"]): number =>
    Object.values(states).reduce((sum, state) => sum + 1 + count(state.states), 0);
  return count(machine.root.states);
}
