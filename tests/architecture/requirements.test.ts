import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { requirements } from "../requirements.ts";

const root = join(import.meta.dirname, "..");
const ids = new Set(requirements.map(({ id }) => id));
const mark = /\[([a-z-]+(?:\.[a-z-]+)?)\]/g;
/** A title: a text right after an opening bracket, as in `it("...")` and `it.each(...)("...")`. */
const title = /\(\s*(["'`])(.*?)\1/gms;

/** Which promises each test file says it proves, in the titles of its tests. */
const claims = globSync(["**/*.test.ts", "conformance/store-conformance/*-promises.ts"], {
  cwd: root,
}).flatMap((file) => {
  const text = readFileSync(join(root, file), "utf8");
  const titles = [...text.matchAll(title)].map(([, , words = ""]) => words);
  return titles.flatMap((words) => [...words.matchAll(mark)].map(([, id = ""]) => ({ file, id })));
});

it("every promise is proved by a test that names it", () => {
  const proved = new Set(claims.map(({ id }) => id));
  expect(requirements.filter(({ id }) => !proved.has(id)).map(({ id }) => id)).toEqual([]);
});

it("every promise that a test names is on the list", () => {
  const unknown = claims.filter(({ id }) => id.includes(".") && !ids.has(id));
  expect(unknown).toEqual([]);
});

it("no promise is listed twice", () => {
  expect(ids.size).toBe(requirements.length);
});
