import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { settingSources } from "../../cli/config/setting-sources.ts";

const doc = await readFile(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");

it.each(Object.entries(settingSources))("docs/configuration.md has a row for %s", (key, source) => {
  const row = doc.split("\n").find((line) => line.startsWith(`| \`${key}\` |`));
  expect(row).toBeDefined();
  for (const name of source.env ?? []) expect(row).toContain(`\`${name}\``);
  if (source.flag !== undefined) expect(row).toContain(`\`--${source.flag}\``);
});
