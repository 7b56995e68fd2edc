import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { settingSources } from "../../cli/config/setting-sources.ts";
import { requirements } from "../requirements.ts";

const page = await readFile(
  join(import.meta.dirname, "../../docs/moving-from-the-python-worker.md"),
  "utf8",
);
const folder = join(import.meta.dirname, "../ferrumdeck");
const tests = (await readdir(folder)).filter((name) => name.endsWith(".test.ts"));
const beside = (
  await Promise.all(tests.map((name) => readFile(join(folder, name), "utf8")))
).join();

it("the page on moving from the Python worker names only promises that are proved, and variables that are read", () => {
  const named = [...page.matchAll(/\[([a-z-]+\.[a-z-]+)\](?!\()/gu)].map(([, id = ""]) => id);
  const ids = new Set<string>(requirements.map(({ id }) => id));
  expect(named.length).toBeGreaterThan(8);
  expect(named.filter((id) => !ids.has(id) && id !== "configuration.md")).toEqual([]);
  // Each of them beside the stand-in.
  const unproved = named.filter((id) => !beside.includes(`[${id}]`) && id !== "configuration.md");
  expect(unproved).toEqual([]);
  const known = new Set(Object.values(settingSources).flatMap(({ env = [] }) => env));
  const variables = [...page.matchAll(/`([A-Z]+(?:_[A-Z]+)+)`/gu)].map(([, name = ""]) => name);
  expect(variables.filter((name) => !known.has(name))).toEqual([]);
});
