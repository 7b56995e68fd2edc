import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { serverKeys } from "../../adapters/mcp/config.ts";
import { settingSources } from "../../cli/config/setting-sources.ts";

const doc = await readFile(join(import.meta.dirname, "../../docs/configuration.md"), "utf8");

it.each(Object.entries(settingSources))("docs/configuration.md has a row for %s", (key, source) => {
  const row = doc.split("\n").find((line) => line.startsWith(`| \`${key}\` |`));
  expect(row).toBeDefined();
  for (const name of source.env ?? []) expect(row).toContain(`\`${name}\``);
  if (source.flag !== undefined) expect(row).toContain(`\`--${source.flag}\``);
});

it.each(serverKeys)("docs/configuration.md has a row for the key %s of an MCP server", (key) => {
  const rows = doc.split("\n").filter((line) => line.startsWith("| `"));
  const names = rows.map((row) => row.split(" | ")[0] ?? "");
  expect(names.some((name) => name.includes(`\`${key}\``))).toBe(true);
});

it.each(["git", "test-runner"])(
  "docs/configuration.md has a row for each option of the %s server",
  async (name) => {
    const file = join(import.meta.dirname, `../../tools/${name}/serve.ts`);
    const source = await readFile(file, "utf8");
    const options = [...source.matchAll(/^ {4}"?([a-z-]+)"?: \{ type: "/gm)].map(([, one]) => one);
    expect(options.length).toBeGreaterThan(3);
    const start = doc.indexOf(`\`stateplane mcp ${name}\``);
    const end = doc.indexOf("`stateplane mcp test-runner`", start + 1);
    const section = doc.slice(start, end === -1 ? undefined : end);
    for (const option of options) expect(section).toContain(`\`--${option}\``);
  },
);
