import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { settingSources } from "../../cli/config/setting-sources.ts";
import { requirements } from "../requirements.ts";

const page = await readFile(
  join(import.meta.dirname, "../../docs/moving-from-the-python-worker.md"),
  "utf8",
);

it("the page on moving from the Python worker names only promises that are proved, and variables that are read", () => {
  const named = [...page.matchAll(/\[([a-z-]+\.[a-z-]+)\](?!\()/gu)].map(([, id = ""]) => id);
  const ids = new Set<string>(requirements.map(({ id }) => id));
  expect(named.length).toBeGreaterThan(8);
  expect(named.filter((id) => !ids.has(id) && id !== "configuration.md")).toEqual([]);
  const known = new Set(Object.values(settingSources).flatMap(({ env = [] }) => env));
  const variables = [...page.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/gu)].map(([, name = ""]) => name);
  expect(variables.filter((name) => !known.has(name))).toEqual([]);
});
