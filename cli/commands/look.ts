import { shownProviders } from "../compose/compose-models.ts";
import type { Command } from "../command.ts";
import { maskConfig } from "../config/load-config.ts";
import { CliError } from "../output/errors.ts";

/** `chart`: what may happen, drawn from the machine itself; with `--json` its definition, as Stately's tools read it. */
export const chart: Command = async ({ invocation, output }) => {
  const name = String(invocation.flags["machine"] ?? "step");
  if (name !== "step" && name !== "supervisor") {
    throw new CliError(2, `--machine: expected step or supervisor, not "${name}"`);
  }
  const [{ chartText }, { stepMachine }, { supervisorMachine }] = await Promise.all([
    import("../../machines/chart-text.ts"),
    import("../../machines/step/machine.ts"),
    import("../../machines/supervisor/machine.ts"),
  ]);
  const machine = { step: stepMachine, supervisor: supervisorMachine }[name];
  if (output.isJson) output.json(machine.toJSON());
  else for (const line of chartText(machine).split("\n")) output.line(line);
  return 0;
};

/** `config`: every setting, masked, with its source. */
export const showConfig: Command = async ({ config, env, output }) => {
  const shown = maskConfig(config);
  if (output.isJson) {
    const entries = shown.map(({ key, value, source }) => [key, { value, source }]);
    output.json({ file: config.file, settings: Object.fromEntries(entries) });
    return 0;
  }
  const rows = shown.map(({ key, value, source }) => [
    key,
    value === null ? "not set" : typeof value === "string" ? value : JSON.stringify(value),
    source,
  ]);
  output.table(["SETTING", "VALUE", "FROM"], rows);
  if (
    config.sources.defaultModel === "default" &&
    shownProviders(config.settings, env).length === 0
  ) {
    output.remark("there is no model to ask: `dev` answers from a script in place of defaultModel");
  }
  return 0;
};
