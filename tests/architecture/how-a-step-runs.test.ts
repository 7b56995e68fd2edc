import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");
const page = readFileSync(join(root, "docs/how-a-step-runs.md"), "utf8");
const files = [...new Set([...page.matchAll(/`([\w./-]+\.ts)`/g)].map(([, file = ""]) => file))];

it("the walk of one step names files that exist, and at most 24 of them", () => {
  expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
  expect(files.length).toBeGreaterThan(15);
  expect(files.length).toBeLessThanOrEqual(24);
});

it("no comment points to a document that is not here", () => {
  const documents = [...page.matchAll(/\(([\w./-]+\.md)\)/g)].map(([, file = ""]) => file);
  expect(documents.filter((file) => !existsSync(join(root, "docs", file)))).toEqual([]);
});
