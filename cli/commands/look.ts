import { shownProviders } from "../compose/compose-models.ts";
import type { Command } from "../command.ts";
import { maskConfig } from "../config/load-config.ts";

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
