import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { serverKeys } from "../../adapters/mcp/config.ts";
import { definePolicy } from "../../cli/library.ts";
import { settingSources } from "../../cli/config/setting-sources.ts";
import { verdict } from "../../machines/contracts/domain/action.ts";

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

it("docs/configuration.md has a row for each key of an agent, and a word on each field of a policy's action", async () => {
  const settings = await readFile(
    join(import.meta.dirname, "../../cli/config/settings.ts"),
    "utf8",
  );
  const [, shape = ""] =
    /const agentSettings = .*?type\(\{\n(.*?)\n {2}\}\)/su.exec(settings) ?? [];
  const keys = [...shape.matchAll(/^ {4}"(\w+)\?"/gmu)].map(([, key]) => key);
  expect(keys).toHaveLength(9);
  const section = doc.slice(doc.indexOf("## Agents, and a policy"), doc.indexOf("## More workers"));
  for (const key of keys) expect(section).toContain(`| \`${key}\` |`);
  for (const field of ["kind", "name", "server", "schema", "input"]) {
    expect(section).toContain(`\`${field}\``);
  }
  for (const kind of Object.keys(verdict)) expect(section).toContain(`\`verdict.${kind}(reason)\``);
});

it("the policy that docs/configuration.md shows denies, asks and allows by the amount", () => {
  const [, body = ""] =
    /```ts\nexport const policy = (definePolicy\(.*?\n\}\));\n```/su.exec(doc) ?? [];
  // oxlint-disable-next-line typescript/no-implied-eval -- the page's own words are what is tried
  const made = new Function("definePolicy", "verdict", `return ${body}`)(definePolicy, verdict);
  const saysOf = (input: object, name = "refund_order") =>
    made({ kind: "tool", name, input }, { runId: "run_1" }).kind;
  expect([20, 51, 501, "x"].map((dollars) => saysOf({ dollars }))).toEqual([
    "allow",
    "ask",
    "deny",
    "deny",
  ]);
  expect(saysOf({}, "look")).toBe("allow");
});
